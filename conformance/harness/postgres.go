package harness

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// PostgresPassword is the password of the user that a DSN names. It is long
// and odd enough to be searched for in what must not contain it.
const PostgresPassword = "pw-of-the-harness-7f3a"

// Postgres is an empty database on a PostgreSQL server of the tests' own.
type Postgres struct {
	server   *postgresServer
	database string
}

// postgresServer is one server, on a port and in a folder that outlive its process.
type postgresServer struct {
	bin      string   // folder of the server's programs
	dir      string   // data folder, socket and log
	settings []string // "name=value"
	port     int
	owner    *syscall.Credential // nil for the user of the test
	process  *exec.Cmd           // nil while it is stopped
	guard    io.Closer           // once closed, also by the end of the test process, the folder goes
	names    atomic.Int64
}

// sharedPostgres is the server of StartPostgres: one for each test process,
// which its guard ends with it.
var sharedPostgres struct {
	sync.Mutex
	server *postgresServer
}

// StartPostgres returns a new database on a server that all tests of the
// process share. It is dropped when the test ends.
func StartPostgres(t testing.TB) *Postgres {
	t.Helper()
	bin := needPostgres(t)
	sharedPostgres.Lock()
	defer sharedPostgres.Unlock()
	if sharedPostgres.server == nil {
		s, err := newPostgresServer(bin, (*postgresServer).init)
		Must(t, err)
		sharedPostgres.server = s
	}
	p := sharedPostgres.server.create(t)
	t.Cleanup(func() {
		_, err := p.server.psql("postgres", "DROP DATABASE "+p.database+" WITH (FORCE)")
		if err != nil {
			t.Error(err)
		}
	})
	return p
}

// StartPrivatePostgres returns a new database on a server of its own, which the
// test may stop and kill. Settings are added to the server's, as "name=value".
func StartPrivatePostgres(t testing.TB, settings ...string) *Postgres {
	t.Helper()
	s, err := newPostgresServer(needPostgres(t), (*postgresServer).init, settings...)
	Must(t, err)
	s.end(t)
	return s.create(t)
}

// end ends the server with the test.
func (s *postgresServer) end(t testing.TB) {
	t.Cleanup(func() {
		if err := errors.Join(s.kill(), s.guard.Close()); err != nil {
			t.Error(err)
		}
	})
}

// DSN is the address of the database, with user and password.
func (p *Postgres) DSN() string { return p.DSNAt(p.Host()) }

// DSNAt is the DSN through other addresses, such as that of a proxy.
func (p *Postgres) DSNAt(hosts ...string) string {
	dsn := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", PostgresPassword),
		Host: strings.Join(hosts, ","), Path: "/" + p.database, RawQuery: "sslmode=disable"}
	return dsn.String()
}

// Name is the name of the database.
func (p *Postgres) Name() string { return p.database }

// Host is the server's address, as "127.0.0.1:port".
func (p *Postgres) Host() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.server.port))
}

// SQL runs statements in the database and returns what they printed: a line
// for each row, columns divided by "|".
func (p *Postgres) SQL(t testing.TB, statements string) string {
	t.Helper()
	out, err := p.server.psql(p.database, statements)
	Must(t, err)
	return strings.TrimSuffix(out, "\n")
}

// WriteFile writes a file that only the server reads, such as a key, and
// returns its path.
func (p *Postgres) WriteFile(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(p.server.dir, name)
	Must(t, os.WriteFile(path, content, 0o600))
	if owner := p.server.owner; owner != nil {
		Must(t, os.Chown(path, int(owner.Uid), int(owner.Gid)))
	}
	return path
}

// Log is the end of what the server has logged.
func (p *Postgres) Log() string { return tail(p.server.log(0), 4000) }

// Kill ends the server, and all processes of it, with SIGKILL.
func (p *Postgres) Kill() error { return p.server.kill() }

// Stop ends the server, which ends all connections, and waits.
func (p *Postgres) Stop() error { return p.server.stop() }

// Start starts a server that was stopped or killed and waits until it is ready.
func (p *Postgres) Start() error { return p.server.start() }

// needPostgres returns the folder of the server's programs, or skips the test.
// Debian has them in a folder for each version, of which none is in PATH.
func needPostgres(t testing.TB) string {
	t.Helper()
	psql := Need(t, "psql", "the database of several nodes is PostgreSQL; Debian's package is postgresql")
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well formed
	slices.SortFunc(folders, func(a, b string) int { return postgresVersion(b) - postgresVersion(a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			folders = slices.Insert(folders, 0, filepath.Dir(path))
		}
	}
	folders = append(folders, filepath.Dir(psql))
	for _, folder := range folders {
		has := func(name string) bool { _, err := os.Stat(filepath.Join(folder, name)); return err == nil }
		if has("initdb") && has("postgres") && has("psql") {
			return folder
		}
	}
	Skip(t, "psql is here but no server: Debian's package is postgresql")
	return ""
}

func postgresVersion(folder string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
	if err != nil {
		return 0
	}
	return n
}

// newPostgresServer makes a server, whose data folder fill makes, and starts it.
func newPostgresServer(bin string, fill func(*postgresServer) error, settings ...string) (*postgresServer, error) {
	dir, err := os.MkdirTemp("", "artifactstore-postgres-")
	if err != nil {
		return nil, err
	}
	s := &postgresServer{bin: bin, dir: dir, settings: settings}
	if err := s.give(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.watch(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := fill(s); err != nil {
		return nil, errors.Join(err, s.guard.Close())
	}
	const ports = 5 // a port may be taken between the choice and the start
	var failures error
	for range ports {
		s.port = choosePort()
		err := s.start()
		if err == nil {
			return s, nil
		}
		failures = errors.Join(failures, err)
	}
	return nil, errors.Join(failures, s.guard.Close())
}

// give makes the folder that of the user who runs the server, which refuses to
// be root.
func (s *postgresServer) give() error {
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return fmt.Errorf("PostgreSQL cannot run as root: %w", err)
		}
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return err
	}
	s.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(s.dir, int(uid), int(gid))
}

// watch starts the guard: a process that outlives the test process by as much
// as it takes to end the server at once and to remove the folder. Its standard
// input ends when the test process does, whatever ended that.
func (s *postgresServer) watch() error {
	guard := s.command("sh", "-c", `cat >/dev/null
if [ -f "$1/data/postmaster.pid" ]; then
	read -r pid <"$1/data/postmaster.pid"
	kill -QUIT "$pid"
	while kill -0 "$pid"; do sleep 0.05; done
fi
rm -rf "$1"`, "guard", s.dir)
	if s.owner != nil {
		guard.SysProcAttr.Credential = nil // who made the folder may remove it
	}
	input, err := guard.StdinPipe()
	if err != nil {
		return err
	}
	s.guard = input
	return guard.Start()
}

// command prepares a program that runs as the server's user, in a session of
// its own: an interrupt of the tests is not for it.
func (s *postgresServer) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = append(quietEnvironment(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: s.owner}
	return cmd
}

func (s *postgresServer) init() error {
	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(PostgresPassword), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(secret, 0o644); err != nil { // whatever the umask is
		return err
	}
	cmd := s.command(filepath.Join(s.bin, "initdb"), "-D", filepath.Join(s.dir, "data"), "-U", "postgres",
		"--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile="+secret, "--no-sync", "-E", "UTF8", "--no-locale")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *postgresServer) start() error {
	if s.process != nil {
		return errors.New("the server is running already")
	}
	name := filepath.Join(s.dir, "log")
	log, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	args := []string{"-D", filepath.Join(s.dir, "data")}
	for _, setting := range append([]string{"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(s.port),
		"unix_socket_directories=" + s.dir, "max_connections=200"}, s.settings...) {
		args = append(args, "-c", setting)
	}
	cmd := s.command(filepath.Join(s.bin, "postgres"), args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	s.process = cmd
	if err := s.waitReady(before); err != nil {
		return errors.Join(err, s.kill())
	}
	return nil
}

// waitReady looks at what the server writes of its state.
func (s *postgresServer) waitReady(logged int64) error {
	const stateLine = 7
	for deadline := time.Now().Add(readyTimeout); ; time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(s.pidFile()) // not there yet
		lines := strings.Split(string(text), "\n")
		if len(lines) > stateLine {
			switch strings.TrimSpace(lines[stateLine]) {
			case "ready", "standby":
				return nil
			}
		}
		// It says so, too, when it cannot start.
		if down := strings.Contains(s.log(logged), "database system is shut down"); down || time.Now().After(deadline) {
			return fmt.Errorf("PostgreSQL did not start:\n%s", tail(s.log(logged), 4000))
		}
	}
}

func (s *postgresServer) pidFile() string { return filepath.Join(s.dir, "data", "postmaster.pid") }

func (s *postgresServer) log(after int64) string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log")) // not there yet
	return string(text[min(after, int64(len(text))):])
}

// stop asks for a fast shutdown.
func (s *postgresServer) stop() error {
	if s.process == nil {
		return nil
	}
	if err := s.process.Process.Signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	err := s.process.Wait()
	s.process = nil
	if err != nil {
		return fmt.Errorf("PostgreSQL stopped with: %w\n%s", err, tail(s.log(0), 4000))
	}
	return nil
}

// kill ends the server's children while its first process cannot see them die,
// and then that: none has time for a last word.
func (s *postgresServer) kill() error {
	if s.process == nil {
		return nil
	}
	pid := s.process.Process.Pid
	err := syscall.Kill(pid, syscall.SIGSTOP)
	children := childrenOf(pid)
	for _, child := range append(children, pid) {
		if failed := syscall.Kill(child, syscall.SIGKILL); !errors.Is(failed, syscall.ESRCH) {
			err = errors.Join(err, failed)
		}
	}
	_ = s.process.Wait() // it ends by the signal, with a status that says so
	s.process = nil
	for _, child := range children {
		for running(child) {
			time.Sleep(time.Millisecond)
		}
	}
	if gone := os.Remove(s.pidFile()); !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// childrenOf returns the processes that a process has started.
func childrenOf(parent int) []int {
	var children []int
	names, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if state := stat(pid); err == nil && len(state) > 1 && state[1] == strconv.Itoa(parent) {
			children = append(children, pid)
		}
	}
	return children
}

// running tells whether a process is there, and not only what is left of it.
func running(pid int) bool {
	state := stat(pid)
	return len(state) > 0 && state[0] != "Z" && state[0] != "X"
}

// stat returns what Linux says of a process, from its state on.
func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, fields, _ := strings.Cut(string(text), ") ")
	return strings.Fields(fields)
}

// create makes a database whose text is ordered as a dictionary is, so that
// whoever needs another order has to ask for it.
func (s *postgresServer) create(t testing.TB) *Postgres {
	t.Helper()
	p := &Postgres{server: s, database: fmt.Sprintf("test_%d", s.names.Add(1))}
	_, err := s.psql("postgres", "CREATE DATABASE "+p.database+" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
	Must(t, err)
	return p
}

func (s *postgresServer) psql(database, statements string) (string, error) {
	out, all, err := Tool{Path: filepath.Join(s.bin, "psql"), Dir: s.dir}.Try("-X", "-q", "-A", "-t",
		"-v", "ON_ERROR_STOP=1", "-h", s.dir, "-p", strconv.Itoa(s.port), "-U", "postgres", "-d", database, "-c", statements)
	if err != nil {
		return "", fmt.Errorf("psql: %w\n%s", err, all)
	}
	return out, nil
}
