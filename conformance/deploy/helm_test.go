package deploy_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"artifactstore/conformance/harness"
)

const chartFolder = "../../configs/helm/artifactstore"

// object is what these tests look at in an object of Kubernetes.
type object struct {
	Kind     string
	Metadata struct {
		Name        string
		Annotations map[string]string
	}
	Data map[string]string
	Spec struct {
		Replicas    *int
		Strategy    struct{ Type string }
		Selector    yaml.Node // a Service has the labels themselves
		PodSelector selector  `yaml:"podSelector"`
		Template    struct {
			Metadata struct{ Labels, Annotations map[string]string }
			Spec     pod
		}
		Ports          []port
		MaxUnavailable yaml.Node                   `yaml:"maxUnavailable"`
		ScaleTargetRef struct{ Kind, Name string } `yaml:"scaleTargetRef"`
		MinReplicas    int                         `yaml:"minReplicas"`
		MaxReplicas    int                         `yaml:"maxReplicas"`
		Ingress        []struct {
			From  []any
			Ports []struct{ Port string }
		}
		Rules []struct {
			Host string
			HTTP struct {
				Paths []struct {
					Path    string
					Backend struct {
						Service struct {
							Name string
							Port struct{ Name string }
						}
					}
				}
			}
		}
	}
}

type selector struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

type port struct {
	Name          string
	Port          int
	ContainerPort int    `yaml:"containerPort"`
	TargetPort    string `yaml:"targetPort"`
}

type pod struct {
	ServiceAccountName string `yaml:"serviceAccountName"`
	AutomountToken     *bool  `yaml:"automountServiceAccountToken"`
	EnableServiceLinks *bool  `yaml:"enableServiceLinks"`
	Grace              int    `yaml:"terminationGracePeriodSeconds"`
	SecurityContext    struct {
		RunAsNonRoot bool `yaml:"runAsNonRoot"`
		RunAsUser    int  `yaml:"runAsUser"`
		FSGroup      int  `yaml:"fsGroup"`
	} `yaml:"securityContext"`
	Containers []container
	Volumes    []struct {
		Name      string
		ConfigMap struct{ Name string } `yaml:"configMap"`
		Secret    struct {
			Name string `yaml:"secretName"`
			Mode int    `yaml:"defaultMode"`
		}
		EmptyDir *struct{} `yaml:"emptyDir"`
	}
	Spread []struct {
		TopologyKey string   `yaml:"topologyKey"`
		Selector    selector `yaml:"labelSelector"`
	} `yaml:"topologySpreadConstraints"`
}

type container struct {
	Image     string
	Args      []string
	Env       []struct{ Name, Value string }
	Ports     []port
	Startup   probe `yaml:"startupProbe"`
	Liveness  probe `yaml:"livenessProbe"`
	Readiness probe `yaml:"readinessProbe"`
	Lifecycle struct {
		PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
	}
	SecurityContext struct {
		ReadOnly   bool                    `yaml:"readOnlyRootFilesystem"`
		Escalation *bool                   `yaml:"allowPrivilegeEscalation"`
		Rights     struct{ Drop []string } `yaml:"capabilities"`
	} `yaml:"securityContext"`
	VolumeMounts []struct {
		Name string
		Path string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet struct{ Path, Port, Scheme string } `yaml:"httpGet"`
}

// chart is what the chart makes of some values.
type chart struct {
	text    string
	objects []object
}

// render lets helm render the chart with one of its ci/ files, by name, and more
// settings in the form of --set.
func render(t *testing.T, values string, set ...string) chart {
	t.Helper()
	text, all, err := tryRender(t, values, set...)
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, all)
	}
	c := chart{text: text}
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return c
		}
		harness.Must(t, err)
		if o.Kind != "" {
			c.objects = append(c.objects, o)
		}
	}
}

func tryRender(t *testing.T, values string, set ...string) (out, all string, err error) {
	t.Helper()
	args := append([]string{"template", "artifactstore", chartFolder, "--namespace", "prod"}, helmFlags...)
	if values != "" {
		args = append(args, "--values", filepath.Join(chartFolder, "ci", values+"-values.yaml"))
	}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	return helm(t).Try(args...)
}

// helmFlags are the version of Kubernetes to render for, which there is no cluster to ask.
var helmFlags = []string{"--kube-version", "1.31.0"}

// helm is the helm command, which finds nothing of the user's.
func helm(t *testing.T) harness.Tool {
	t.Helper()
	home := t.TempDir()
	return harness.Tool{Path: harness.Need(t, "helm", "the chart is one of the ways to run the server"),
		Env: []string{"HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home}}
}

// find returns the only object of that kind and name.
func (c chart) find(t *testing.T, kind, name string) object {
	t.Helper()
	found := c.all(kind, name)
	if len(found) != 1 {
		t.Fatalf("%d objects are %s %s:\n%s", len(found), kind, name, c.text)
	}
	return found[0]
}

// all returns the objects of a kind, with that name unless it is empty.
func (c chart) all(kind, name string) []object {
	var found []object
	for _, o := range c.objects {
		if o.Kind == kind && (name == "" || o.Metadata.Name == name) {
			found = append(found, o)
		}
	}
	return found
}

// settings returns the effective settings of a container: of the ConfigMap at the
// place where ARTIFACTSTORE_CONFIG names it, and its other variables.
func (c chart) settings(t *testing.T, p pod) map[string]string {
	t.Helper()
	binary, err := harness.Binary()
	harness.Must(t, err)
	var env []string
	file := ""
	for _, v := range p.Containers[0].Env {
		if v.Name == "ARTIFACTSTORE_CONFIG" {
			file = v.Value
			continue
		}
		if v.Value != "" { // those of fields are known to the kubelet alone
			env = append(env, v.Name+"="+strings.ReplaceAll(v.Value, "$(POD_IP)", "10.1.2.3"))
		}
	}
	volume, inside := mounted(p, file)
	for _, v := range p.Volumes {
		if v.Name != volume {
			continue
		}
		text, ok := c.find(t, "ConfigMap", v.ConfigMap.Name).Data[inside]
		if !ok {
			t.Fatalf("ConfigMap %s has no %s", v.ConfigMap.Name, inside)
		}
		path := write(t, filepath.Join(t.TempDir(), "artifactstore.yaml"), text)
		out := harness.Tool{Path: binary, Env: env}.Run(t, "config", "show", "--json", "--config", path)
		var shown map[string]struct{ Value string }
		harness.Must(t, json.Unmarshal([]byte(out), &shown))
		settings := make(map[string]string)
		for key, s := range shown {
			settings[key] = s.Value
		}
		return settings
	}
	t.Fatalf("no volume is mounted at %s", file)
	return nil
}

// mounted returns the volume that has a path, and the path in it.
func mounted(p pod, path string) (volume, inside string) {
	for _, m := range p.Containers[0].VolumeMounts {
		if rest, ok := strings.CutPrefix(path+"/", m.Path+"/"); ok {
			return m.Name, strings.Trim(rest, "/")
		}
	}
	return "", ""
}

// examples are the values of ci/, and the name that the objects have with them.
var examples = map[string]string{"minimal": "artifactstore", "full": "registry", "autoscaled": "artifactstore"}

func TestChartIsAcceptedByHelm(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(chartFolder, "ci", "*-values.yaml"))
	harness.Must(t, err)
	if len(files) != len(examples) {
		t.Errorf("examples %v", files)
	}
	for _, file := range files {
		helm(t).Run(t, append([]string{"lint", chartFolder, "--strict", "--values", file}, helmFlags...)...)
	}
}

// TestChartRefuses: what cannot work is said before anything is installed.
func TestChartRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, values, set, want string }{
		{"no word that something guards it", "minimal", "config.insecure_no_auth=false", "Set config.insecure_no_auth to true if something guards them"},
		{"no bucket", "minimal", "config.s3.bucket=", "set config.s3.bucket"},
		{"no database", "minimal", "database.existingSecret=", "set database.existingSecret"},
		{"nothing set", "", "replicaCount=1", "there are no accounts yet"},
		{"a key that does not exist", "minimal", "config.s3.buket=b", "'buket' not allowed"},
		{"a value that does not parse", "minimal", "config.manifests.max_size=4 MB", "/config/manifests/max_size"},
		{"a DSN among what is no secret", "minimal", "config.database.dsn=postgres://app:hunter2@db/registry", "'dsn' not allowed"},
		{"an address of its own", "minimal", "config.listen=:80", "'listen' not allowed"},
		{"SQLite, of which every node would have its own", "minimal", "config.database.driver=sqlite", "/config/database/driver"},
		{"files, of which every node would have its own", "minimal", "config.storage.driver=filesystem", "/config/storage/driver"},
		{"an ingress for no host", "minimal", "ingress.enabled=true", "/ingress/hosts"},
		{"a value that does not exist", "minimal", "replicas=3", "'replicas' not allowed"},
		{"more nodes at least than at most", "minimal", "autoscaling.enabled=true,autoscaling.minReplicas=9", "must not be above autoscaling.maxReplicas"},
		{"an update that can replace nothing", "minimal", "strategy.rollingUpdate.maxSurge=0", "cannot both be 0"},
		{"no time to stop", "minimal", "terminationGracePeriodSeconds=10", "longer than preStopSeconds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, all, err := tryRender(t, c.values, c.set)
			if err == nil || !strings.Contains(all, c.want) || strings.Contains(all, "hunter2") {
				t.Errorf("got %v\n%s\nwant %s", err, all, c.want)
			}
		})
	}
}

// TestChartConfiguresTheServer: the server takes the rendered configuration, which
// names secrets by files that are mounted, and holds none.
func TestChartConfiguresTheServer(t *testing.T) {
	t.Parallel()
	want := map[string]map[string]string{
		"minimal": {"database.dsn_file": "/etc/artifactstore/database/dsn", "s3.bucket": "artifacts", "s3.access_key_id_file": "", "log.format": "json",
			"admin.listen": "127.0.0.1:5001", "delete.enabled": "true"},
		"full": {"database.dsn_file": "/etc/artifactstore/database/uri", "s3.access_key_id_file": "/etc/artifactstore/s3/access_key_id",
			"s3.secret_access_key_file": "/etc/artifactstore/s3/secret_access_key", "tls.cert": "/etc/artifactstore/tls/tls.crt",
			"tls.key": "/etc/artifactstore/tls/tls.key", "manifests.max_size": "5MiB", "database.max_connections": "24", "delete.enabled": "false",
			"s3.redirect": "above 1MiB", "s3.path_style": "true", "shutdown.timeout": "1m30s", "admin.listen": ":9090",
			"admin.hosts": "10.1.2.3,registry-admin,registry-admin.prod,registry-admin.prod.svc,metrics.example.com"},
		"autoscaled": {"s3.region": "eu-central-1"},
	}
	for values, name := range examples {
		c := render(t, values)
		if len(c.all("Secret", "")) != 0 {
			t.Errorf("%s: the chart makes a Secret", values)
		}
		p := c.find(t, "Deployment", name).Spec.Template.Spec
		settings := c.settings(t, p)
		for key, value := range map[string]string{"database.driver": "postgres", "storage.driver": "s3", "database.dsn": "", "listen": ":5000",
			"data": "/data", "s3.spool": "/spool", "insecure_no_auth": "true"} {
			if settings[key] != value {
				t.Errorf("%s: %s is %q, want %q", values, key, settings[key], value)
			}
		}
		for key, value := range want[values] {
			if settings[key] != value {
				t.Errorf("%s: %s is %q, want %q", values, key, settings[key], value)
			}
		}
		checkPaths(t, p, settings)
		for _, job := range c.all("Job", name+"-migrate") {
			migration := c.settings(t, job.Spec.Template.Spec)
			checkPaths(t, job.Spec.Template.Spec, migration)
			for _, key := range []string{"database.driver", "database.dsn_file", "s3.bucket", "storage.driver"} {
				if migration[key] != settings[key] {
					t.Errorf("%s: the migration has %q for %s, the nodes %q", values, migration[key], key, settings[key])
				}
			}
		}
	}
}

// checkPaths: secrets come from Secrets, and what is written is on an emptyDir.
func checkPaths(t *testing.T, p pod, settings map[string]string) {
	t.Helper()
	secret, empty := make(map[string]bool), make(map[string]bool)
	for _, v := range p.Volumes {
		secret[v.Name] = v.Secret.Name != "" && v.Secret.Mode == 0o440
		empty[v.Name] = v.EmptyDir != nil
	}
	for _, key := range []string{"database.dsn_file", "s3.access_key_id_file", "s3.secret_access_key_file", "tls.cert", "tls.key"} {
		if volume, _ := mounted(p, settings[key]); settings[key] != "" && !secret[volume] {
			t.Errorf("%s, %s, is on no Secret", key, settings[key])
		}
	}
	for _, path := range []string{"/data", settings["s3.spool"], "/tmp"} {
		if volume, _ := mounted(p, path); !empty[volume] {
			t.Errorf("%s is on no emptyDir", path)
		}
	}
}

// TestChartRunsNodesThatComeAndGo checks how pods are made, watched and ended.
func TestChartRunsNodesThatComeAndGo(t *testing.T) {
	t.Parallel()
	for values, name := range examples {
		c := render(t, values)
		d := c.find(t, "Deployment", name)
		p := d.Spec.Template.Spec
		checkRights(t, p)
		node := p.Containers[0]
		if !slices.Equal(node.Args, []string{"serve"}) || node.Readiness.HTTPGet.Path != "/readyz" || node.Liveness.HTTPGet.Path != "/livez" ||
			node.Startup.HTTPGet.Path != "/livez" || node.Readiness.HTTPGet.Port != "registry" {
			t.Errorf("%s: the server runs as %+v", values, node)
		}
		settings := c.settings(t, p)
		scheme := "HTTP"
		if settings["tls.cert"] != "" {
			scheme = "HTTPS"
		}
		if node.Readiness.HTTPGet.Scheme != scheme || node.Liveness.HTTPGet.Scheme != scheme || node.Startup.HTTPGet.Scheme != scheme {
			t.Errorf("%s: the probes do not speak %s", values, scheme)
		}
		drain, err := time.ParseDuration(settings["shutdown.timeout"])
		harness.Must(t, err)
		if least := node.Lifecycle.PreStop.Sleep.Seconds + int(drain.Seconds()) + 10; p.Grace < least || p.Grace > least+10 {
			t.Errorf("%s: a pod has %d s to end, and may need %d", values, p.Grace, least)
		}
		for _, job := range c.all("Job", "") {
			checkRights(t, job.Spec.Template.Spec)
			hook := job.Metadata.Annotations
			its := c.find(t, "ConfigMap", job.Spec.Template.Spec.Volumes[0].ConfigMap.Name).Metadata.Annotations
			if !slices.Equal(job.Spec.Template.Spec.Containers[0].Args, []string{"migrate"}) || hook["helm.sh/hook"] != "pre-install,pre-upgrade" ||
				its["helm.sh/hook"] != hook["helm.sh/hook"] || number(t, its["helm.sh/hook-weight"]) >= number(t, hook["helm.sh/hook-weight"]) {
				t.Errorf("%s: the migration is %v, its configuration %v", values, hook, its)
			}
		}
	}
	for preStop, want := range map[string]int{"0": 45, "20": 65} {
		p := render(t, "minimal", "preStopSeconds="+preStop).find(t, "Deployment", "artifactstore").Spec.Template.Spec
		if p.Grace != want || strconv.Itoa(p.Containers[0].Lifecycle.PreStop.Sleep.Seconds) != preStop {
			t.Errorf("with a pause of %s s a pod has %d s to end, want %d", preStop, p.Grace, want)
		}
	}
	before := render(t, "minimal").find(t, "Deployment", "artifactstore").Spec.Template.Metadata.Annotations
	after := render(t, "minimal", "config.uploads.expire=25h").find(t, "Deployment", "artifactstore").Spec.Template.Metadata.Annotations
	if before["checksum/config"] == "" || before["checksum/config"] == after["checksum/config"] {
		t.Error("nodes are not replaced when the configuration changes")
	}
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	harness.Must(t, err)
	return n
}

// checkRights: a pod has the user of the image, and no rights. Variables of other
// Services, which could look like settings, are kept from it.
func checkRights(t *testing.T, p pod) {
	t.Helper()
	c := p.Containers[0].SecurityContext
	if !p.SecurityContext.RunAsNonRoot || p.SecurityContext.RunAsUser != 65532 || p.SecurityContext.FSGroup != 65532 || !c.ReadOnly ||
		c.Escalation == nil || *c.Escalation || !slices.Equal(c.Rights.Drop, []string{"ALL"}) ||
		p.AutomountToken == nil || *p.AutomountToken || p.EnableServiceLinks == nil || *p.EnableServiceLinks {
		t.Errorf("the rights of a pod: %+v, %+v", p.SecurityContext, c)
	}
}

// TestChartSelectsNodes: what selects pods selects the nodes and nothing else.
func TestChartSelectsNodes(t *testing.T) {
	t.Parallel()
	for values, name := range examples {
		c := render(t, values)
		d := c.find(t, "Deployment", name).Spec
		selects := func(what string, labels map[string]string) {
			t.Helper()
			match := func(pod map[string]string) bool {
				for k, v := range labels {
					if pod[k] != v {
						return false
					}
				}
				return len(labels) > 0
			}
			if !match(d.Template.Metadata.Labels) {
				t.Errorf("%s: %s does not select the nodes: %v", values, what, labels)
			}
			for _, job := range c.all("Job", "") {
				if match(job.Spec.Template.Metadata.Labels) {
					t.Errorf("%s: %s selects the migration: %v", values, what, labels)
				}
			}
		}
		for _, o := range c.objects {
			var s selector
			switch o.Kind {
			case "Service":
				harness.Must(t, o.Spec.Selector.Decode(&s.MatchLabels))
			case "Deployment", "PodDisruptionBudget":
				harness.Must(t, o.Spec.Selector.Decode(&s))
			case "NetworkPolicy":
				s = o.Spec.PodSelector
			default:
				continue
			}
			selects(o.Kind+" "+o.Metadata.Name, s.MatchLabels)
		}
		for _, s := range d.Template.Spec.Spread {
			selects("the spreading over "+s.TopologyKey, s.Selector.MatchLabels)
		}
		var names []string
		for _, p := range d.Template.Spec.Containers[0].Ports {
			names = append(names, p.Name)
		}
		for _, s := range c.all("Service", "") {
			if !slices.Contains(names, s.Spec.Ports[0].TargetPort) {
				t.Errorf("%s: Service %s leads to port %s, and there are %v", values, s.Metadata.Name, s.Spec.Ports[0].TargetPort, names)
			}
		}
		for _, policy := range c.all("NetworkPolicy", "") {
			for _, rule := range policy.Spec.Ingress {
				if len(rule.From) == 0 || !slices.Contains(names, rule.Ports[0].Port) {
					t.Errorf("%s: a rule of the NetworkPolicy lets in %v", values, rule)
				}
			}
		}
	}
}

// TestChartScales: any number of nodes, a fixed one or not, and the switches.
func TestChartScales(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		d := render(t, "minimal", "replicaCount="+strconv.Itoa(n)).find(t, "Deployment", "artifactstore").Spec
		if d.Replicas == nil || *d.Replicas != n || d.Strategy.Type != "RollingUpdate" || len(d.Template.Spec.Spread) != 2 {
			t.Errorf("%d nodes: %+v", n, d)
		}
	}
	full, scaled := render(t, "full"), render(t, "autoscaled")
	if d := full.find(t, "Deployment", "registry").Spec; *d.Replicas != 3 || d.Strategy.Type != "Recreate" || d.Template.Spec.ServiceAccountName != "registry" ||
		!strings.Contains(d.Template.Spec.Containers[0].Image, "/artifactstore@sha256:0123") {
		t.Errorf("the full example: %+v", d)
	}
	h := scaled.find(t, "HorizontalPodAutoscaler", "artifactstore").Spec
	if d := scaled.find(t, "Deployment", "artifactstore").Spec; d.Replicas != nil || h.ScaleTargetRef.Name != "artifactstore" || h.ScaleTargetRef.Kind != "Deployment" ||
		h.MinReplicas != 2 || h.MaxReplicas != 20 || d.Template.Spec.ServiceAccountName != "existing" {
		t.Errorf("%+v scales %+v", h, d)
	}
	if budget := full.find(t, "PodDisruptionBudget", "registry").Spec.MaxUnavailable.Value; budget != "50%" {
		t.Errorf("%s may be away", budget)
	}
	if account := full.find(t, "ServiceAccount", "registry"); account.Metadata.Annotations["eks.amazonaws.com/role-arn"] == "" {
		t.Error("the ServiceAccount has no role")
	}
	for _, rule := range full.find(t, "Ingress", "registry").Spec.Rules {
		path := rule.HTTP.Paths[0]
		if service := full.find(t, "Service", path.Backend.Service.Name); path.Path != "/v2/" || service.Spec.Ports[0].Name != path.Backend.Service.Port.Name {
			t.Errorf("the ingress leads %s to %+v", path.Path, path.Backend)
		}
	}
	for kind, want := range map[string]int{"PodDisruptionBudget": 0, "Job": 0, "ServiceAccount": 0, "Ingress": 0, "Service": 1, "NetworkPolicy": 1} {
		if got := len(scaled.all(kind, "")); got != want {
			t.Errorf("%d objects are a %s, want %d", got, kind, want)
		}
	}
	// The operators' API stays on loopback until it is asked for.
	if node := scaled.find(t, "Deployment", "artifactstore").Spec.Template.Spec.Containers[0]; len(node.Ports) != 1 {
		t.Errorf("ports %v", node.Ports)
	}
	if admin := full.find(t, "Service", "registry-admin").Spec.Ports[0]; admin.Port != 9090 {
		t.Errorf("the operators' port is %+v", admin)
	}
}

// TestChartDocumentsItsValues: the table of the README has every value.
func TestChartDocumentsItsValues(t *testing.T) {
	t.Parallel()
	var values map[string]any
	harness.Must(t, yaml.Unmarshal([]byte(example(t, "helm/artifactstore/values.yaml")), &values))
	readme := example(t, "helm/artifactstore/README.md")
	for _, name := range slices.Sorted(maps.Keys(values)) {
		section, nested := values[name].(map[string]any)
		if !nested || len(section) == 0 || name == "config" || name == "resources" {
			section = map[string]any{"": nil}
		}
		for key := range section {
			if full := strings.TrimSuffix(name+"."+key, "."); !strings.Contains(readme, "| `"+full+"` |") {
				t.Errorf("the README has no %s", full)
			}
		}
	}
}
