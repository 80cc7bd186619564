package main_test

import (
	"net"
	"strings"
	"testing"
)

func TestHealthcheckAsksTheServerOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	port := s.address[strings.LastIndex(s.address, ":"):]
	for _, listen := range []string{s.address, "localhost" + port, port, "0.0.0.0" + port} {
		env := []string{"ARTIFACTSTORE_LISTEN=" + listen}
		run(t, dir, env, "healthcheck").expect(t, 0, "http://", "/readyz: ok")
		run(t, dir, env, "healthcheck", "--live").expect(t, 0, "/livez: ok")
	}
	run(t, dir, nil, "healthcheck", "--listen", s.address).expect(t, 0, "http://"+s.address+"/readyz: ok")
	s.stop()
	run(t, dir, nil, "healthcheck", "--listen", s.address).expect(t, 1, "no answer from http://"+s.address+"/readyz", "does a server run")
}

func TestHealthcheckTellsAliveFromReady(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, []string{"ARTIFACTSTORE_STORAGE_MIN_FREE=1000000TiB"}) // no disk has this much room
	run(t, dir, nil, "healthcheck", "--listen", s.address).expect(t, 1, "503 Service Unavailable", "the server's log says why")
	run(t, dir, nil, "healthcheck", "--listen", s.address, "--live").expect(t, 0, "ok")
}

func TestHealthcheckKnowsTheServerByItsCertificate(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	writeCertificate(t, dir)
	writeCertificate(t, other)
	files := func(cert string) []string {
		return []string{"ARTIFACTSTORE_TLS_CERT=" + cert, "ARTIFACTSTORE_TLS_KEY=key.pem"}
	}
	s := start(t, dir, files("cert.pem"))
	args := []string{"healthcheck", "--listen", s.address}
	run(t, dir, files("cert.pem"), args...).expect(t, 0, "https://"+s.address+"/readyz: ok")
	run(t, other, files("cert.pem"), args...).expect(t, 1, "another certificate than tls.cert", "restarted")
	run(t, dir, files("key.pem"), args...).expect(t, 1, "key.pem: there is no certificate in it")
	run(t, dir, files("none.pem"), args...).expect(t, 1, "read tls.cert", "none.pem")
	run(t, dir, nil, args...).expect(t, 1, "400 Bad Request")
}

func TestHealthcheckDoesNotWaitForEver(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // connections are made, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	run(t, t.TempDir(), nil, "healthcheck", "--listen", listener.Addr().String(), "--timeout", "50ms").expect(t, 1, "no answer from", "deadline exceeded")
	run(t, t.TempDir(), nil, "healthcheck", "--listen", "127.0.0.1:0").expect(t, 1, "name it with --listen")
	run(t, t.TempDir(), nil, "healthcheck", "--listen", "nowhere").expect(t, 1, "is not an address with a port")
}
