package settings

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func testFlags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	flags := pflag.NewFlagSet("up", pflag.ContinueOnError)
	flags.String("data", "default", "")
	flags.String("listen", "", "")
	flags.String("port-offset", "", "")
	flags.Duration("access-ttl", time.Hour, "")
	flags.Bool("demo", false, "")
	flags.String("config", "", "")
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags
}

func environment(pairs ...string) func(string) (string, bool) {
	env := map[string]string{}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		env[name] = value
	}
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func TestOrder(t *testing.T) {
	file, err := parseYAML("farreach.yaml", []byte("# home\ndata: /file\nlisten: 192.0.2.7\nport_offset: 100\ndemo: true\naccess_ttl: 5m\n"))
	if err != nil {
		t.Fatal(err)
	}
	flags := testFlags(t, "--data", "/flag")
	if err := Apply(flags, environment("FARREACH_DATA=/env", "FARREACH_LISTEN=192.0.2.8", "FARREACH_OTHER=1"), file); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"data": "/flag", "listen": "192.0.2.8", "port-offset": "100", "demo": "true", "access-ttl": "5m0s",
	} {
		if got := flags.Lookup(name).Value.String(); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	from := map[string]string{}
	for _, s := range All(flags) {
		from[s.Key] = s.From
	}
	for key, want := range map[string]string{
		"data": "command line", "listen": "FARREACH_LISTEN", "port_offset": "farreach.yaml:4:1", "access_ttl": "farreach.yaml:6:1", "config": "",
	} {
		if from[key] != want {
			t.Errorf("%s is from %q, want %q", key, from[key], want)
		}
	}
	flags = testFlags(t)
	if err := Apply(flags, environment("FARREACH_DATA="), nil); err != nil || flags.Lookup("data").Value.String() != "default" {
		t.Errorf("an empty variable counted: %v", err)
	}
}

// TestBad45 refuses a configuration that says something else than was meant.
func TestBad45Config(t *testing.T) {
	for _, tt := range []struct{ name, yaml, want string }{
		{"unknown key", "data: /x\nport_ofset: 3\n", `farreach.yaml:2:1: unknown key "port_ofset"; did you mean port_offset?`},
		{"far from any", "qqqqqqqqqq: 3\n", `farreach.yaml:1:1: unknown key "qqqqqqqqqq"`},
		{"indented later", "data: /x\n\n# talk\nlissten: y", `farreach.yaml:4:1: unknown key "lissten"; did you mean listen?`},
		{"config in a config", "config: y", `unknown key "config"`},
		{"wrong type", "demo: perhaps\n", `farreach.yaml:1:1: "perhaps" cannot be used for demo`},
		{"wrong duration", "access_ttl: 5\n", `cannot be used for access-ttl`},
		{"twice", "data: /x\ndata: /y\n", "farreach.yaml:2:1: "},
		{"nested", "data:\n  dir: /x\n", `key "data" needs one plain value`},
		{"list", "data: [a, b]\n", `key "data" needs one plain value`},
		{"nothing", "data:\n", `key "data" needs one plain value`},
		{"no mapping", "- data\n", `not a list of "key: value" lines`},
		{"syntax", "data: [\n", "farreach.yaml:1:"},
		{"two documents", "data: x\n---\ndata: y\n", "a second document"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "farreach.yaml")
			if err := os.WriteFile(file, []byte(tt.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			entries, err := ReadFile(file)
			if err == nil {
				err = Apply(testFlags(t), environment(), entries)
			}
			bad, ok := errors.AsType[*Error](err)
			if !ok || !strings.Contains(bad.Error(), tt.want) {
				t.Errorf("err = %v\nwant one with %q", err, tt.want)
			}
			if ok && strings.Contains(bad.Error(), "\n") {
				t.Errorf("more than one line: %q", bad)
			}
		})
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a missing file was taken for an empty one")
	}
	if err := Apply(testFlags(t), environment("FARREACH_DEMO=maybe"), nil); err == nil || !strings.HasPrefix(err.Error(), "FARREACH_DEMO: ") {
		t.Errorf("bad variable: err = %v", err)
	}
}

func TestEmptyConfig(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "null\n"} {
		if entries, err := parseYAML("x", []byte(text)); err != nil || len(entries) != 0 {
			t.Errorf("%q: %v, %v", text, entries, err)
		}
	}
}

func FuzzYAML(f *testing.F) {
	for _, seed := range []string{"data: /x\nport_offset: 3\n", "a: [", "- x", "a: &b c\nd: *b", "? x\n: y", "a: |\n b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<12 {
			return
		}
		entries, err := parseYAML("x", b)
		if err != nil && strings.Contains(err.Error(), "\n") && !strings.Contains(string(b), "\n") {
			t.Fatalf("%q: an error of several lines: %q", b, err)
		}
		for _, e := range entries {
			if e.Where == "" {
				t.Fatalf("%q: key %q is nowhere", b, e.Key)
			}
		}
	})
}

func TestChanged(t *testing.T) {
	before, err := parseYAML("x", []byte("data: /x\nlisten: a\ndemo: true\n"))
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseYAML("x", []byte("demo: true\ndata: /y\naccess_ttl: 1h\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(Changed(before, after), " "), "data listen access_ttl"; got != want {
		t.Errorf("changed: %s, want %s", got, want)
	}
	if got := Changed(after, after); got != nil {
		t.Errorf("nothing has changed, but %v", got)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"data", "listen", "port_offset", "demo"}
	for word, want := range map[string]string{
		"dta": "data", "lisen": "listen", "port-offset": "port_offset", "port": "port_offset", "dmeo": "demo", "xyz": "", "": "", "demoo": "demo",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestProfile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "profiles")
	s := &Server{PID: 1, HTTP: "127.0.0.1:8080", CoAPTCP: "127.0.0.1:5683", CoAPSTCP: "127.0.0.1:5684",
		Account: "home", CAFile: "/x/ca.pem", TokenFile: "/x/token", PasswordFile: "/x/password", Data: "/x"}
	if err := s.SaveProfile(dir, "home"); err != nil {
		t.Fatal(err)
	}
	got, err := LoadProfile(dir, "home")
	if err != nil {
		t.Fatal(err)
	}
	want := *s
	want.PID, want.Data = 0, ""
	if *got != want {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
	if got.API() != "http://127.0.0.1:8080" || got.Cloud() != "coaps+tcp://127.0.0.1:5684" {
		t.Errorf("API %s, cloud %s", got.API(), got.Cloud())
	}
	if info, _ := os.Stat(filepath.Join(dir, "home.yaml")); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o", info.Mode().Perm())
	}
	if _, err := LoadProfile(dir, "attic"); !errors.Is(err, ErrNoProfile) {
		t.Errorf("missing profile: %v", err)
	}
}

// An address file is a profile too, and files are relative to it.
func TestAddrFileIsProfile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "addr.json")
	s := &Server{PID: 7, HTTP: "127.0.0.1:8443", HTTPS: true, Account: "home", TokenFile: "token", Data: "/x"}
	if err := s.WriteAddrFile(file); err != nil {
		t.Fatal(err)
	}
	got, err := LoadProfile("elsewhere", file)
	if err != nil {
		t.Fatal(err)
	}
	if got.API() != "https://127.0.0.1:8443" || got.TokenFile != filepath.Join(filepath.Dir(file), "token") || got.PID != 7 {
		t.Errorf("%+v", got)
	}
	if err := os.WriteFile(file, []byte(`{"htpp":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadProfile("", file); err == nil || !strings.Contains(err.Error(), "addr.json:1:") {
		t.Errorf("unknown key: %v", err)
	}
}

func TestSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for content, want := range map[string]string{"abc": "abc", "abc\n": "abc", " abc \nrest": "abc", "": "", "\n": "", strings.Repeat("x", maxSecret+1): ""} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadSecret(file)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.10q: %q, %v", content, got, err)
		}
	}
}

func TestDirectories(t *testing.T) {
	if got := DataDir(environment("HOME=/home/ada")); got != "/home/ada/.local/share/farreach" {
		t.Error(got)
	}
	if got := ConfigDir(environment("HOME=/home/ada", "XDG_CONFIG_HOME=/etc/ada")); got != "/etc/ada/farreach" {
		t.Error(got)
	}
	if got := StateDir(environment("HOME=/home/ada", "XDG_STATE_HOME=relative")); got != "/home/ada/.local/state/farreach" {
		t.Error(got) // a relative one must be ignored, says the specification
	}
}
