package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/listen"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/reach"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// result is what a run of the program left.
type result struct {
	code     exitCode
	out, err string
}

// farreach runs the program with an empty home directory. Arguments are
// parted by blanks; env is NAME=value.
func farreach(t *testing.T, args string, env ...string) result {
	t.Helper()
	vars := map[string]string{"HOME": t.TempDir()}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		vars[name] = value
	}
	var out, errs bytes.Buffer
	a := &app{
		in: strings.NewReader(""), out: &out, err: &errs, self: "farreach",
		lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
	}
	code := a.main(t.Context(), strings.Fields(args))
	return result{exitCode(code), out.String(), errs.String()}
}

// TestMisuse: the exit status is 2, and the one line says what to try.
func TestMisuse(t *testing.T) {
	for args, want := range map[string]string{
		"frobnicate":                        `farreach: unknown command "frobnicate"; try: farreach --help`,
		"obsrve x/y":                        `farreach: unknown command "obsrve"; try: farreach observe`,
		"up --demmo":                        `farreach: up: unknown flag: --demmo; try: --demo`,
		"up now":                            `farreach: up: "now" is too much; try: farreach up --help`,
		"devices --qqqqqqqq":                `farreach: devices: unknown flag: --qqqqqqqq; try: farreach devices --help`,
		"get":                               `farreach: get: missing a target such as lamp/a/light; try: farreach get lamp/a/light`,
		"get a b":                           `farreach: get: "b" is too much; try: farreach get --help`,
		"put lamp/a/light":                  `farreach: put: missing a body such as value=true; try: farreach put lamp/a/light value=true dimming=40`,
		"get http://x/y":                    `farreach: get: "http://x/y": http:// is not a way to a device`,
		"get coap+tcp://x/y --psk-file k":   `farreach: get: --psk-file: coap+tcp://x/y does not take a shared key; try: a coaps:// target`,
		"help frobnicate":                   `farreach: help: no command "frobnicate"; try: farreach --help`,
		"get lamp/a/light --timeout 0":      `farreach: get: --timeout 0s: no time at all; try: --timeout 10s`,
		"account login":                     `farreach: account login: missing subcommand; try: farreach account login add`,
		"account lst":                       `farreach: account: unknown command "lst"; try: farreach account ls`,
		"account add":                       `farreach: account add: missing the name of the account; try: farreach account add ada --password-file ada.txt`,
		"completion tcsh":                   `farreach: completion: no completion for "tcsh"; try: bash, zsh or fish`,
		"events --since yesterday":          `farreach: events: --since: "yesterday" is neither a duration nor a time`,
		"observe x/y --count many":          `farreach: observe: invalid argument "many" for "--count" flag`,
		"device --type toaster":             `farreach: device: no simulated device is of type "toaster"`,
		"device --name a/b":                 `farreach: device: name "a/b": no slash`,
		"device --cloud http://x":           `farreach: device: cloud "http://x": not a coaps+tcp, coap+tcp, coaps+ws or coap+ws address`,
		"device --cloud coap+tcp://[::1]:1": `farreach: device: no pairing code; try: --code, with one of farreach pair`,
		"device --cloud coap+tcp://[::1]:1 --code 1":              `farreach: device: a pairing code looks like`,
		"device --code farreach:pair?cis=coap+tcp://[::1]:1":      `farreach: device: --code: not as farreach:pair?at=CODE&cis=URL; try: farreach pair`,
		"device --code farreach:pear?at=K3J7-9QWX-42MD":           `farreach: device: --code: not as farreach:pair?at=CODE&cis=URL; try: farreach pair`,
		"device --code farreach:pair?at=1&cis=coap+tcp://[::1]:1": `farreach: device: a pairing code looks like`,
		"device --code farreach:pair?at=1&cis=http://x":           `farreach: device: cloud "http://x": not a coaps+tcp, coap+tcp, coaps+ws or coap+ws address`,
		"device --psk-file k --cloud coap+tcp://[::1]:1":          `farreach: device: --psk-file: a key of the owner is for the local network; try: --lan`,
		"device --xmpp-addr x:1":                                  `farreach: device: an XMPP address or a password says nothing without an account; try: --xmpp ann@home.example`,
		"device --xmpp home":                                      `farreach: device: --xmpp "home" is no account; try: --xmpp ann@home.example`,
		"device --xmpp ann@home.example":                          `farreach: device: no password; try: --password-file FILE, or --password-stdin`,
		"ra":                                                      `farreach: ra: missing subcommand; try: farreach ra provision coaps://`,
		"ra provision":                                            `farreach: ra provision: missing a target such as coaps://192.0.2.7:40123; try: farreach ra provision coaps://`,
		"ra provision coaps://x --jid home":                       `farreach: ra provision: --jid "home" is no account; try: --jid ann@home.example`,
		"ra show coap://x --psk-file k":                           `farreach: ra show: --psk-file: coap://x/oic/res does not take a shared key; try: a coaps:// target`,
	} {
		r := farreach(t, args)
		if r.code != exitUsage || !strings.Contains(r.err, want) || r.out != "" || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%s: exit %d, out %q, err\n\t%s\nwant\n\t%s", args, r.code, r.out, r.err, want)
		}
	}
}

func TestOtherFailures(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "farreach.yaml")
	profile := filepath.Join(dir, "here.yaml")
	for name, text := range map[string]string{
		config:  "data: /nowhere\nport_ofset: 3\n",
		profile: "http: 127.0.0.1:1\ncoap_tcp: 127.0.0.1:1\ntoken_file: none\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args string
		code exitCode
		want string
		env  string
	}{
		{"up --config " + config, exitConfig, `farreach: up: farreach.yaml:2:1: unknown key "port_ofset"; did you mean port_offset?`, ""},
		{"up --config " + dir + "/none.yaml", exitConfig, "no such file", ""},
		{"up", exitConfig, `farreach: up: farreach.yaml:2:1: unknown key`, "FARREACH_CONFIG=" + config},
		{"up --listen 192.0.2.7:443", exitConfig, `listen "192.0.2.7:443": an address without a port; --port-offset shifts all ports; try: `, ""},
		{"up --port-offset much", exitConfig, `port-offset "much"`, ""},
		{"up --store-sync never --port-offset auto --data " + dir + "/data", exitConfig, `store-sync "never": neither a duration nor always; try: --store-sync 10ms, or always`, ""},
		{"up --retention-age soon --port-offset auto --data " + dir + "/data", exitConfig, `retention-age "soon": not a time such as 12h or 90d; try: --retention-age 90d`, ""},
		{"up --retention-size 1e3 --port-offset auto --data " + dir + "/data", exitConfig, `retention-size "1e3"`, ""},
		{"xmppd --turn turn.example", exitConfig, `turn "turn.example": not HOST:PORT; try: --turn turn.example.org:3478`, ""},
		{"xmppd --turn turn.example:0 --turn-secret-file x", exitConfig, `turn "turn.example:0": not HOST:PORT`, ""},
		{"xmppd --turn-secret-file " + config, exitConfig, `turn "": not HOST:PORT`, ""},
		{"up --turn turn.example:3478", exitConfig, `turn: no secret; try: --turn-secret-file FILE`, ""},
		{"up --turn turn.example:3478 --turn-secret-file " + dir + "/none", exitConfig, "no such file or directory; try: another --turn-secret-file", ""},
		{"devices --timeout 1s", exitConfig, `FARREACH_JSON: "maybe" cannot be used for json`, "FARREACH_JSON=maybe"},
		{"devices", exitNotFound, "no such profile", ""},
		{"get lamp/a/light", exitNotFound, "no such profile", ""},
		{"devices --profile attic", exitNotFound, "profiles/attic.yaml; try: farreach up, which writes one", ""},
		{"devices --profile " + profile, exitConfig, "token: ", ""},
		{"devices --profile " + profile, exitNoConnect, "farreach: devices: http://127.0.0.1:1: no connection: ", "FARREACH_TOKEN=fut_x"},
		{"get lamp/a/light --profile " + profile, exitNoConnect, "farreach: get: lamp/a/light: ", "FARREACH_TOKEN=fut_x"},
		{"get coap+tcp://127.0.0.1:1/a", exitNoConnect, "farreach: get: coap+tcp://127.0.0.1:1/a: ", ""},
		{"pair --ca-file " + config + " --profile " + profile, exitConfig, "no certificate in it", "FARREACH_TOKEN=fut_x"},
		{"account add ada --profile " + profile, exitUsage, "no password; try: --password-file", "FARREACH_TOKEN=fut_x"},
		{"account rm ada --profile " + profile, exitUsage, "nobody said yes; try: farreach account rm ada --yes", "FARREACH_TOKEN=fut_x"},
	} {
		r := farreach(t, tt.args, tt.env)
		if r.code != tt.code || !strings.Contains(r.err, tt.want) || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%s: exit %d, want %d; err\n\t%s\nwant\n\t%s", tt.args, r.code, tt.code, r.err, tt.want)
		}
		if strings.Contains(r.err, "fut_x") {
			t.Errorf("%s: the token is told: %s", tt.args, r.err)
		}
	}
}

func TestCodeOf(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want exitCode
	}{
		{errors.New("x"), exitFailed},
		{misuse("", "x"), exitUsage},
		{&settings.Error{}, exitConfig},
		{&listen.TakenError{}, exitConfig},
		{settings.ErrNoProfile, exitNotFound},
		{&reach.Error{Kind: reach.NotFound, Err: errors.New("x")}, exitNotFound},
		{&reach.Error{Kind: reach.Ambiguous, Err: errors.New("x")}, exitUsage},
		{oic.Errorf(oic.Unauthorized, "x"), exitNotAllowed},
		{oic.Errorf(oic.Forbidden, "x"), exitNotAllowed},
		{&reach.Error{Kind: reach.NoConnect, Err: &tls.CertificateVerificationError{}}, exitNotAllowed},
		{&reach.Error{Kind: reach.NoConnect, Err: errors.New("x")}, exitNoConnect},
		{apiclient.ErrNoConnect, exitNoConnect},
		{context.DeadlineExceeded, exitTimeout},
		{oic.Errorf(oic.GatewayTimeout, "x"), exitTimeout},
		{oic.ErrOffline, exitOffline},
		{oic.Errorf(oic.NotFound, "x"), exitRefused},
		{oic.Errorf(oic.BadRequest, "x"), exitRefused},
		{oic.Errorf(oic.Internal, "x"), exitPeerFailed},
		{context.Canceled, exitInterrupted},
		{&apiclient.Problem{Status: 401}, exitNotAllowed},
		{&apiclient.Problem{Status: 404}, exitNotFound},
		{&apiclient.Problem{Status: 409}, exitRefused},
		{&apiclient.Problem{Status: 503}, exitPeerFailed},
	} {
		if got := codeOf(fmt.Errorf("wrapped: %w", tt.err)); got != tt.want {
			t.Errorf("%v: exit %d, want %d", tt.err, got, tt.want)
		}
	}
}

// An error that a device wrote is shown on one line, and no terminal obeys it.
func TestForeignDiagnostic(t *testing.T) {
	a := &app{lookup: func(string) (string, bool) { return "", false }}
	cmd, _, err := a.rootCmd().Find([]string{"get"})
	if err != nil {
		t.Fatal(err)
	}
	line := errorLine(cmd, exitRefused, oic.Errorf(oic.BadRequest, "no\r\nfarreach: done\x1b[2J"))
	if want := `farreach: get: 4.00 Bad Request: no farreach: done\u001b[2J`; line != want {
		t.Errorf("%q, want %q", line, want)
	}
}

// TestGoldenHelp keeps the help as it was looked at.
func TestGoldenHelp(t *testing.T) {
	for name, args := range map[string]string{"help": "--help", "help-up": "up --help", "help-get": "help get", "help-account": "account --help", "help-provision": "ra provision --help"} {
		r := farreach(t, args, "HOME=/home/ada")
		if r.code != exitDone || r.err != "" {
			t.Errorf("%s: exit %d, %s", args, r.code, r.err)
		}
		golden(t, name, r.out)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", name+".golden"))
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestVersionAndCompletion(t *testing.T) {
	if r := farreach(t, "version"); r.code != exitDone || !strings.HasPrefix(r.out, "farreach\tdevel\t") {
		t.Errorf("%+v", r)
	}
	if r := farreach(t, "version --json"); !strings.HasPrefix(r.out, `{"schema":"farreach.version/v1","version":"devel",`) {
		t.Errorf("%+v", r)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if r := farreach(t, "completion "+shell); r.code != exitDone || !strings.Contains(r.out, "farreach") {
			t.Errorf("%s: %+v", shell, r)
		}
	}
	// No server, no names, and no complaint in the middle of the user's line.
	if r := farreach(t, "__complete get la"); r.code != exitDone || !strings.HasPrefix(r.out, ":6\n") {
		t.Errorf("%+v", r)
	}
}

// TestList: ls is called list, too, but shells and the manual have it once.
func TestList(t *testing.T) {
	if r := farreach(t, "account list"); r.code != exitNotFound || !strings.HasPrefix(r.err, "farreach: account ls: ") {
		t.Errorf("%+v", r)
	}
	if r := farreach(t, "help account list"); r.code != exitDone || !strings.Contains(r.out, "farreach account ls [flags]") {
		t.Errorf("%+v", r)
	}
	if r := farreach(t, "__complete account ls"); r.code != exitDone || r.out != "ls\tList the accounts\n:4\n" {
		t.Errorf("completed: %+v", r)
	}
	if r := farreach(t, "__complete account list --js"); r.code != exitDone || !strings.HasPrefix(r.out, "--json\t") {
		t.Errorf("completed: %+v", r)
	}
	dir := t.TempDir()
	if r := farreach(t, "man "+dir); r.code != exitDone {
		t.Errorf("%+v", r)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "farreach-account-l*s.1"))
	if err != nil || len(pages) != 2 || filepath.Base(pages[0]) != "farreach-account-login-ls.1" || filepath.Base(pages[1]) != "farreach-account-ls.1" {
		t.Errorf("pages %q, %v", pages, err)
	}
}

// TestPairingURI: what the QR code says is enough for a device, and --cloud goes
// before it.
func TestPairingURI(t *testing.T) {
	const code, cloud, other = "K3J7-9QWX-42MD", "coaps+tcp://192.0.2.7:5684", "coap+tcp://192.0.2.8:5683"
	a := &app{lookup: func(string) (string, bool) { return "", false }, profileDir: t.TempDir(), profile: defaultProfile}
	for _, tt := range []struct {
		typed  string
		clouds []string
		want   string
	}{
		{pairingURI(cloud, code), nil, cloud},
		{"FARREACH:pair?cis=" + cloud + "&at=" + code, nil, cloud},
		{pairingURI(cloud, code), []string{other}, other},
		{"farreach:pair?at=" + code, []string{other}, other},
		{code, []string{other}, other},
	} {
		m, err := a.member(deviceFlags{kind: "lamp", dialect: "auto", code: tt.typed, clouds: tt.clouds})
		if err != nil {
			t.Errorf("%s: %v", tt.typed, err)
			continue
		}
		got, err := m.code(t.Context())
		if wanted, _ := secret.ParseCode(code); err != nil || got != wanted || !slices.Equal(m.servers, []string{tt.want}) {
			t.Errorf("%s: %q at %q, %v", tt.typed, got.Reveal(), m.servers, err)
		}
	}
}

func TestStopAt(t *testing.T) {
	stream := func(lines int, ctx context.Context, line func()) error {
		for range lines {
			time.Sleep(time.Second)
			if ctx.Err() != nil {
				break
			}
			line()
		}
		<-ctx.Done()
		return ctx.Err()
	}
	for _, tt := range []struct {
		name  string
		stop  stopAt
		lines int
		code  exitCode
		after time.Duration
	}{
		{"count reached", stopAt{count: 2}, 5, exitDone, 3 * time.Second},
		{"time over, something seen", stopAt{after: 2500 * time.Millisecond}, 9, exitDone, 3 * time.Second},
		{"time over, nothing seen", stopAt{after: 30 * time.Second}, 0, exitTimeout, 30 * time.Second},
		{"time over, some of the count seen", stopAt{count: 3, after: 2500 * time.Millisecond}, 9, exitTimeout, 3 * time.Second},
		{"count before time", stopAt{count: 1, after: time.Minute}, 5, exitDone, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				err := tt.stop.run(t.Context(), func(ctx context.Context, line func()) error { return stream(tt.lines, ctx, line) })
				code := exitDone
				if err != nil {
					code = codeOf(err)
				}
				if code != tt.code || time.Since(start) != tt.after {
					t.Errorf("exit %d after %v, want %d after %v (%v)", code, time.Since(start), tt.code, tt.after, err)
				}
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := stopAt{}.run(ctx, func(ctx context.Context, _ func()) error { return ctx.Err() })
	if codeOf(err) != exitInterrupted {
		t.Errorf("Ctrl-C: %v", err)
	}
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                     {},
		"2h":                   now.Add(-2 * time.Hour),
		"7d":                   now.AddDate(0, 0, -7),
		"2026-01-31T08:00:00Z": now.Add(-4 * time.Hour),
		"2026-01-31":           time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local),
	} {
		if got, err := parseTime("--since", text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"-2h", "soon", "2026-13-01"} {
		if _, err := parseTime("--since", text, now); codeOf(err) != exitUsage {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestShellWord(t *testing.T) {
	for word, want := range map[string]string{
		"lamp/a/light": "lamp/a/light", "value=true": "value=true", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "ü": "'ü'",
	} {
		if got := shellWord(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

func TestLock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	first, err := takeLock(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := takeLock(file); err == nil || err.Error() != fmt.Sprintf(" (pid %d)", os.Getpid()) {
		t.Errorf("taken twice: %v", err)
	}
	first.release()
	again, err := takeLock(file)
	if err != nil {
		t.Fatal(err)
	}
	again.release()
}
