package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"github.com/goccy/go-yaml"
)

const deploy = "../deploy"

// TestComposeFile: what is to start a server on one machine is short, and YAML.
func TestComposeFile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(deploy, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Services map[string]struct {
			Build struct{ Context, Dockerfile string }
			Ports []string
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n > 25 {
		t.Errorf("%d lines, more than 25", n)
	}
	s := doc.Services["farreach"]
	if _, err := os.Stat(filepath.Join(deploy, s.Build.Context, s.Build.Dockerfile)); err != nil || len(s.Ports) != 4 {
		t.Errorf("%+v: %v", s, err)
	}
}

// TestHelmChart renders the chart, by helm if it is there, and looks whether the
// documents are what they are to be and the flags exist.
func TestHelmChart(t *testing.T) {
	chart := filepath.Join(deploy, "helm")
	text, err := exec.Command("helm", "template", "hub", chart, "--set", "nats.secret=nats").Output()
	if err != nil {
		t.Logf("helm is not there (%v): the templates are rendered without it", err)
		text = rendered(t, chart)
	}
	var kinds, args []string
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var doc struct {
			Kind string
			Spec struct {
				Template struct {
					Spec struct{ Containers []struct{ Args []string } }
				}
			}
		}
		if err := d.Decode(&doc); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		kinds = append(kinds, doc.Kind)
		for _, c := range doc.Spec.Template.Spec.Containers {
			args = append(args, c.Args...)
		}
	}
	if got := strings.Join(kinds, " "); got != "StatefulSet Service PodDisruptionBudget" && len(kinds) != 3 {
		t.Errorf("documents: %s", got)
	}
	if len(args) != 8 {
		t.Fatalf("arguments: %q", args)
	}
	known, err := exec.Command("farreach", "cloud", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range args[1:] {
		if flag, _, _ := strings.Cut(arg, "="); !strings.Contains(string(known), flag+" ") {
			t.Errorf("farreach %s has no flag %s", args[0], flag)
		}
	}
}

// rendered is the chart by the templates of Go's library.
func rendered(t *testing.T, chart string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	values["nats"].(map[string]any)["secret"] = "nats"
	funcs := template.FuncMap{
		"quote":  func(v any) string { return strconv.Quote(v.(string)) },
		"toJson": func(v any) (string, error) { b, err := json.Marshal(v); return string(b), err },
	}
	tmpl, err := template.New("nodes.yaml").Funcs(funcs).Option("missingkey=error").ParseFiles(filepath.Join(chart, "templates/nodes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := tmpl.Execute(&out, map[string]any{"Values": values, "Release": map[string]string{"Name": "hub"}}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestUnit: systemd takes the unit without a word.
func TestUnit(t *testing.T) {
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not there")
	}
	text, err := os.ReadFile(filepath.Join(deploy, "farreach.service"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := exec.LookPath("farreach")
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "farreach.service")
	text = bytes.ReplaceAll(text, []byte("/usr/local/bin/farreach"), []byte(self))
	if err := os.WriteFile(unit, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(verify, "verify", "--man=no", unit).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "farreach.service") {
			t.Error(strings.TrimSpace(line))
		}
	}
	if err != nil {
		t.Logf("systemd-analyze: %v: %s", err, out)
	}
}

// TestDebianPackage builds the package, and looks what is in it.
func TestDebianPackage(t *testing.T) {
	for _, tool := range []string{"dpkg-deb", "gzip", "install"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not there")
		}
	}
	root := t.TempDir() // as the project's, with the program of this test
	for from, to := range map[string]string{deploy: "deploy", "../LICENSE": "LICENSE"} {
		abs, err := filepath.Abs(from)
		if err == nil {
			err = os.Symlink(abs, filepath.Join(root, to))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	self, err := exec.LookPath("farreach")
	if err == nil {
		err = os.Mkdir(filepath.Join(root, "bin"), 0o700)
	}
	if err == nil {
		err = os.Symlink(self, filepath.Join(root, "bin/farreach"))
	}
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("deploy/deb.sh", "v1.2-3-gabc-dirty")
	build.Dir, build.Env = root, append(os.Environ(), "HOME=~", "DPKG_DEB_COMPRESSOR_TYPE=none") // which takes its time
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(root, "bin/farreach_1.2+3+gabc+dirty_*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages: %v, %v", found, err)
	}
	list, err := exec.Command("dpkg-deb", "-c", found[0]).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"/usr/bin/farreach", "/etc/farreach.yaml", "/usr/lib/systemd/system/farreach.service", "/usr/lib/sysctl.d/90-farreach.conf",
		"/usr/share/man/man1/farreach-up.1.gz", "/usr/share/bash-completion/completions/farreach", "/usr/share/doc/farreach/copyright",
	} {
		if !strings.Contains(string(list), " ."+name+"\n") {
			t.Errorf("%s is not in\n%s", name, list)
		}
	}
	if strings.Contains(string(list), " root/root ") == false || strings.Contains(string(list), "-> ") {
		t.Errorf("not root's, or a link:\n%s", list)
	}
}
