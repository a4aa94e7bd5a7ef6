package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/farreach/farreach/device"
	"github.com/farreach/farreach/internal/xmppservers"
	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/jid"
)

// path is one way from the commands of a person to a device.
type path struct {
	t        *testing.T
	home     string   // of the person
	env      []string // of the commands
	before   []string // what stands before each command
	always   []string // what stands behind each
	gadget   *device.Host
	target   string   // what stands before an href
	discover []string // arguments by which discover sees no more than this way
	by, via  string   // how discover calls the way, and how the URI begins that --json tells
	offline  int      // the exit status when the device is not there
	leave    func()   // takes the device away
}

// command runs a command as the person does. It returns what it wrote, and its
// exit status.
func (p *path) command(args ...string) (stdout, stderr string, exit int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	args = slices.Concat(p.before, []string{"farreach"}, args, p.always)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(append(os.Environ(), "HOME="+p.home), p.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		p.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// begin starts a command that goes on.
func (p *path) begin(args ...string) *proc {
	p.t.Helper()
	args = slices.Concat(p.before, []string{"farreach"}, args, p.always)
	return startProc(p.t, exec.Command(args[0], args[1:]...), append([]string{"HOME=" + p.home}, p.env...)...)
}

// does runs a command that must end so, and returns its standard output; with a
// failure, its standard error.
func (p *path) does(exit int, args ...string) string {
	p.t.Helper()
	out, errs, got := p.command(args...)
	if got != exit {
		p.t.Errorf("farreach %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, exit, out, errs)
	}
	if exit != 0 {
		return errs
	}
	return out
}

// prints runs a command that must succeed and write want.
func (p *path) prints(want string, args ...string) {
	p.t.Helper()
	if got := strings.TrimSpace(p.does(0, args...)); got != want {
		p.t.Errorf("farreach %s: %s, want %s", strings.Join(args, " "), got, want)
	}
}

// refused runs a command that must fail so, with one line that says it.
func (p *path) refused(exit int, say string, args ...string) {
	p.t.Helper()
	got := p.does(exit, args...)
	if !strings.Contains(got, say) || strings.Count(got, "\n") != 1 {
		p.t.Errorf("farreach %s: told\n%swant one line with %q", strings.Join(args, " "), got, say)
	}
}

// TestEveryPath: the same commands do the same on every way to a device: over
// datagrams on the local network, through the cloud, and over XMPP servers by
// three hands (RA-007, RA-020, RA-070, RA-079).
func TestEveryPath(t *testing.T) {
	for name, open := range map[string]func(*testing.T) *path{
		"direct": directPath, "cloud": cloudPath, "xmppd": xmppdPath,
		"prosody":  func(t *testing.T) *path { return foreignPath(t, xmppservers.Prosody) },
		"ejabberd": func(t *testing.T) *path { return foreignPath(t, xmppservers.Ejabberd) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := open(t)
			t.Run("discover", p.on((*path).isFound))
			t.Run("use", p.on((*path).isUsed))
			t.Run("observe", p.on((*path).isObserved))
			t.Run("refusals", p.on((*path).refuses))
			t.Run("long", p.on((*path).carriesMuch))
			t.Run("offline", p.on((*path).isMissed))
		})
	}
}

func (p *path) on(f func(*path)) func(*testing.T) {
	return func(t *testing.T) {
		q := *p
		q.t = t
		f(&q)
	}
}

func (p *path) isFound() {
	var doc struct {
		Device string `json:"di"`
		Name   string
		Type   string
		Ways   []struct{ By, URI string }
	}
	out := p.does(0, append([]string{"discover", "--json"}, p.discover...)...)
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
	if doc.Device != p.gadget.ID() || doc.Name != "gadget" || doc.Type != "oic.d.light" || len(doc.Ways) == 0 || doc.Ways[0].By != p.by || !strings.HasPrefix(doc.Ways[0].URI, p.via) {
		p.t.Errorf("found %s", out)
	}
}

func (p *path) isUsed() {
	light := p.target + "/a/light"
	p.prints(`{"value":false}`, "get", light)
	p.prints(`{"value":true}`, "post", light, "value=true")
	p.prints(`{"value":true}`, "get", light)
	p.prints(`{"value":false}`, "set", light, "value=false")
	var doc struct {
		Via, Status string
		Rep         struct{ RT []string }
	}
	out := p.does(0, "get", light, "--if", "oic.if.baseline", "--json")
	if err := json.Unmarshal([]byte(out), &doc); err != nil || !strings.HasPrefix(doc.Via, p.via) || doc.Status != "2.05" || fmt.Sprint(doc.Rep.RT) != "[oic.r.switch.binary]" {
		p.t.Errorf("%v: %s", err, out)
	}
	p.does(0, "delete", p.target+"/a/note")
	p.refused(9, "4.04", "get", p.target+"/a/note")
	hops := p.does(0, "ping", p.target, "--path", "-c", "2", "--interval", "1ms")
	if n := strings.Count(hops, "\n"); n == 0 || n > 2 {
		p.t.Errorf("the hops are\n%s", hops)
	}
}

func (p *path) isObserved() {
	out := filepath.Join(p.t.TempDir(), "lines")
	file, err := os.Create(out)
	if err != nil {
		p.t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.CommandContext(p.t.Context(), "farreach", "observe", p.target+"/a/light", "--count", "3", "--for", patience.String())
	cmd.Env, cmd.Stdout = append(append(os.Environ(), "HOME="+p.home), p.env...), file
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	for i, want := range []string{`{"value":false}`, `{"value":true}`, `{"value":false}`} {
		if i > 0 {
			p.does(0, "set", p.target+"/a/light", "value="+strconv.FormatBool(i == 1))
		}
		eventually(p.t, func() bool {
			text, err := os.ReadFile(out)
			lines := strings.Split(string(text), "\n")
			return err == nil && len(lines) > i+1 && lines[i] == want
		})
	}
	if err := cmd.Wait(); err != nil {
		p.t.Error(err)
	}
}

func (p *path) refuses() {
	p.refused(9, "4.04", "get", p.target+"/a/lihgt")
	p.refused(9, "4.05", "delete", p.target+"/a/light")
	p.refused(9, "value is true or false", "post", p.target+"/a/light", "value=40")
	if p.by != "lan" {
		p.refused(4, "gadget", "get", "gagdet/a/light")
	}
}

// carriesMuch has texts go both ways that are longer than one stanza may be.
func (p *path) carriesMuch() {
	p.carries(longLines(8)) // which the gadget has already
	lines := longLines(3)
	body, err := json.Marshal(map[string]any{"lines": lines})
	if err != nil {
		p.t.Fatal(err)
	}
	file := filepath.Join(p.t.TempDir(), "body.json")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.does(0, "put", p.target+"/a/text", "@"+file)
	p.carries(lines)
}

func (p *path) carries(lines []string) {
	p.t.Helper()
	var got struct{ Lines []string }
	if err := json.Unmarshal([]byte(p.does(0, "get", p.target+"/a/text")), &got); err != nil || !slices.Equal(got.Lines, lines) {
		p.t.Errorf("%d long lines came back as %d: %v", len(lines), len(got.Lines), err)
	}
}

// longLines are n lines of 18,000 bytes.
func longLines(n int) (lines []string) {
	for i := range n {
		lines = append(lines, strings.Repeat(fmt.Sprintf("%08d ⟶ €\n", i), 1_000))
	}
	return lines
}

// isMissed is refused as offline where somebody knows that there is such a
// device. By presence alone nobody does, unless its address is said.
func (p *path) isMissed() {
	p.leave()
	p.refused(p.offline, p.target, "get", p.target+"/a/light", "--timeout", "1s")
	if p.by == "xmpp" {
		p.refused(8, p.gadget.ID(), "get", p.via+"?oic;href=%2Fa%2Flight")
	}
}

// eventually waits until it is done.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	within(t, patience, done)
}

func within(t *testing.T, limit time.Duration, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for overdue := time.After(limit); !done(); {
		select {
		case <-tick.C:
		case <-overdue:
			t.Fatalf("it did not happen in %v", limit)
		}
	}
}

func directPath(t *testing.T) *path {
	g := newGadget("gadget")
	at, leave := onLAN(t, g)
	return &path{home: t.TempDir(), gadget: g, target: "coap://" + at.String(), discover: []string{"--for", "300ms", "--device", at.String()},
		by: "lan", via: "coap://" + at.String(), offline: 7, leave: leave}
}

func cloudPath(t *testing.T) *path {
	c := newChild(t)
	c.start()
	g := newGadget("gadget")
	return &path{home: c.home, gadget: g, target: "gadget", discover: []string{"--remote"}, by: "cloud", via: "coaps+tcp://127.0.0.1:", offline: 8,
		leave: inCloud(t, g, c)}
}

// xmppdPath knows the account by its profile.
func xmppdPath(t *testing.T) *path {
	c := newChild(t)
	c.command = "xmppd"
	c.start()
	g := newGadget("gadget")
	password, err := os.ReadFile(c.where().PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	return &path{home: c.home, gadget: g, target: "gadget", discover: []string{"--remote"}, by: "xmpp", via: "xmpp:home@localhost/OIC%2F1.0%2Foic.d.light%2F" + g.ID(), offline: 4,
		leave: onXMPP(t, g.Remote(), c.config("home", "", strings.TrimSpace(string(password))))}
}

// foreignPath knows the account by the environment.
func foreignPath(t *testing.T, kind xmppservers.Kind) *path {
	s := xmppservers.Run(t, kind, xmppservers.Config{})
	g := newGadget("gadget")
	p := &path{home: t.TempDir(), gadget: g, target: "ocf://" + g.ID(), discover: []string{"--remote"}, by: "xmpp", via: "xmpp:ann@" + s.Domain + "/OIC%2F1.0%2Foic.d.light%2F" + g.ID(), offline: 4}
	password := filepath.Join(p.home, "password")
	if err := os.WriteFile(password, []byte("venus and mars\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = []string{"FARREACH_XMPP=ann@" + s.Domain, "FARREACH_XMPP_ADDR=" + s.Addr, "FARREACH_PASSWORD_FILE=" + password, "FARREACH_CA_FILE=" + s.CAFile}
	p.leave = onXMPP(t, g.Remote(), foreignAccount(t, s))
	return p
}

// foreignAccount is how a device gets into that server.
func foreignAccount(t *testing.T, s *xmppservers.Server) xmpp.Config {
	t.Helper()
	return xmpp.Config{JID: mustJID(t, "ann@"+s.Domain), Password: "venus and mars", Addr: s.Addr, TLS: &tls.Config{RootCAs: s.Roots}, Log: quiet}
}

func mustJID(t *testing.T, text string) jid.JID {
	t.Helper()
	j, err := jid.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return j
}
