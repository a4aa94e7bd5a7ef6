package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/farreach/farreach/oic"
)

// personOf is a person of the account of c who reaches devices in one way only,
// "xmpp" or "cloud".
func personOf(t *testing.T, c *child, by string) *path {
	t.Helper()
	p := &path{t: t, home: t.TempDir(), by: by}
	where := c.where()
	if by == "xmpp" {
		p.env = []string{"FARREACH_XMPP=home@" + where.Domain, "FARREACH_XMPP_ADDR=" + where.XMPP,
			"FARREACH_PASSWORD_FILE=" + where.PasswordFile, "FARREACH_CA_FILE=" + where.CAFile}
		return p
	}
	text, err := os.ReadFile(filepath.Join(c.home, "addr.json"))
	var addr map[string]any
	if err == nil {
		err = json.Unmarshal(text, &addr)
	}
	for key := range addr {
		if strings.HasPrefix(key, "xmpp") || key == "domain" || key == "password_file" {
			delete(addr, key)
		}
	}
	if err == nil {
		text, err = json.Marshal(addr)
	}
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.home, "cloud.json")
	write(t, file, string(text))
	p.always = []string{"--profile", file}
	return p
}

// foundWay is how a device is reached, as discover says.
type foundWay struct {
	By, URI, State, Note string
}

// sees waits until a device is found, in that state by the person's way.
func (p *path) sees(name, state string) (found foundWay) {
	p.t.Helper()
	within(p.t, patience, func() bool {
		out, _, _ := p.command("discover", "--remote", "--json")
		for line := range strings.Lines(out) {
			var doc struct {
				Name string
				Ways []foundWay
			}
			if json.Unmarshal([]byte(line), &doc) == nil && doc.Name == name {
				i := slices.IndexFunc(doc.Ways, func(w foundWay) bool { return w.By == p.by && w.State == state })
				if i >= 0 {
					found = doc.Ways[i]
					return true
				}
			}
		}
		return false
	})
	return found
}

// tally counts the observations of a device.
type tally struct {
	oic.Observer

	mu   sync.Mutex // guards what follows
	now  map[string]int
	most int // at once, of one resource
}

func (c *tally) Observe(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	c.count(req.Href, 1)
	defer c.count(req.Href, -1)
	return c.Observer.Observe(ctx, req, each)
}

func (c *tally) count(href string, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now[href] += by
	c.most = max(c.most, c.now[href])
}

// watched is how many observations there are, of all resources.
func (c *tally) watched() (all int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.now {
		all += n
	}
	return all
}

// sealed is a resource of a device's security, as some show it to everybody near.
type sealed struct{}

func (sealed) Link() oic.Link { return gadgetLink("/oic/sec/doxm", "oic.r.doxm") }

func (sealed) Retrieve(context.Context, string) (any, error) {
	return map[string]any{"owned": true}, nil
}

// TestProxyPolicy: what the policy does not name, and what is under /oic/sec in
// whatever spelling, is answered as if it did not exist, by XMPP and by the cloud
// (threats rules 3 and 4).
func TestProxyPolicy(t *testing.T) {
	t.Parallel()
	c := newChild(t, "--xmpp-devices=false")
	c.start()
	g := newGadget("gadget")
	g.Add(sealed{})
	at, _ := onLAN(t, g)
	direct := personOf(t, c, "xmpp")
	direct.prints(`{"owned":true}`, "get", "coap://"+at.String()+"/oic/sec/doxm")
	policy := filepath.Join(t.TempDir(), "policy.json")
	write(t, policy, `[{"di": "`+g.ID()+`", "href": "/a/light", "readonly": true}, {"href": "/oic/sec/doxm"}, {"rt": "oic.r.doxm"}]`)
	proxy := startProc(t, exec.Command("farreach", "proxy", "--profile", filepath.Join(c.home, "addr.json"), "--state", filepath.Join(c.home, "proxy.json"),
		"--device", at.String(), "--policy", policy), "HOME="+t.TempDir())
	proxy.says(t, " gadget: on XMPP, registered at ")
	for _, by := range []string{"xmpp", "cloud"} {
		phone := personOf(t, c, by)
		phone.sees("gadget", "reachable")
		phone.prints(`{"value":false}`, "get", "gadget/a/light")
		phone.refused(5, "4.03", "post", "gadget/a/light", "value=true")
		for _, path := range []string{"/a/note", "/oic/sec/doxm", "/OIC/sec/doxm", "/oic/%73ec/doxm", "/oic//sec/doxm", "/a/../oic/sec/doxm"} {
			if out, errs, exit := phone.command("get", "gadget"+path); exit == 0 || out != "" {
				t.Errorf("by %s, %s is %s%s", by, path, out, errs)
			}
		}
		phone.refused(9, "4.04", "get", "gadget/a/note")
		_, there, _ := phone.command("get", "gadget/oic/sec/doxm") // refused below /oic/sec, whether it is there or not
		if _, absent, _ := phone.command("get", "gadget/oic/sec/crud"); strings.ReplaceAll(absent, "crud", "doxm") != there {
			t.Errorf("by %s what is there is told as %s, what is not as %s", by, there, absent)
		}
		if links := phone.does(0, "get", "gadget/oic/res"); strings.Contains(links, "sec") || strings.Contains(links, "note") || !strings.Contains(links, "/a/light") {
			t.Errorf("by %s the links are %s", by, links)
		}
	}
}

// TestProxyManyWays: of three devices one has an XMPP stream of its own, and the
// others are behind that of the proxy; in the cloud each is for itself. Whoever
// watches, and by whichever way, the device has one observation, and none when the
// proxy has gone (A-06; sections 6.2, 6.4 and 6.5 of the wire profile).
func TestProxyManyWays(t *testing.T) {
	t.Parallel()
	c := newChild(t, "--xmpp-devices=false")
	c.start()
	args := []string{"proxy", "--profile", filepath.Join(c.home, "addr.json"), "--state", filepath.Join(c.home, "proxy.json"),
		"--streams", "1", "--check", "1s", "--allow", "all"}
	var counts []*tally
	var ids []string
	var leave []func()
	for i := range 3 {
		g := newGadget(fmt.Sprintf("gadget%d", i))
		count := &tally{Observer: g, now: map[string]int{}}
		at, gone := onLAN(t, count)
		args = append(args, "--device", at.String())
		counts, ids, leave = append(counts, count), append(ids, g.ID()), append(leave, gone)
	}
	phones := map[string]*path{"xmpp": personOf(t, c, "xmpp"), "cloud": personOf(t, c, "cloud")}
	proxy := startProc(t, exec.Command("farreach", args...), "HOME="+t.TempDir())
	for i := range counts {
		proxy.says(t, fmt.Sprintf(" gadget%d: ", i))
	}
	behind, last, uri := 0, 0, ""
	for by, phone := range phones {
		for i := range counts {
			name := fmt.Sprintf("gadget%d", i)
			if way := phone.sees(name, "reachable"); by == "xmpp" && strings.Contains(way.URI, "oic.d.bridge") {
				behind, last, uri = behind+1, i, way.URI
			}
			phone.prints(`{"value":true}`, "post", name+"/a/light", "value=true")
			phone.prints(`{"value":false}`, "post", "ocf://"+ids[i]+"/a/light", "value=false")
		}
	}
	if behind != 2 {
		t.Errorf("%d devices are behind the proxy", behind)
	}

	for i, count := range counts {
		var watches []*proc
		for range 2 {
			for _, phone := range phones {
				watches = append(watches, phone.begin("observe", fmt.Sprintf("gadget%d/a/light", i)))
			}
		}
		for _, watch := range watches {
			watch.says(t, `"value":false`)
		}
		phones["xmpp"].does(0, "post", fmt.Sprintf("gadget%d/a/light", i), "value=true")
		for _, watch := range watches {
			watch.says(t, `"value":true`)
			watch.stop()
		}
		if count.most != 1 {
			t.Errorf("gadget%d had %d observations of a resource at once", i, count.most)
		}
	}

	leave[last]()
	name := fmt.Sprintf("gadget%d", last)
	proxy.says(t, " "+name+": does not answer on the local network")
	phones["cloud"].sees(name, "offline")
	phones["cloud"].refused(8, name, "get", name+"/a/light")
	phones["xmpp"].refused(10, "5.03", "get", uri+"%2Fa%2Flight")
	if err := proxy.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for _, count := range counts { // also those of the cloud itself
		eventually(t, func() bool { return count.watched() == 0 })
	}
	phones["cloud"].sees("gadget0", "unknown")
	phones["cloud"].refused(8, "its gateway proxy went", "get", "gadget0/a/light")
}

// TestProxyFarewell: a device is told that nobody observes it any more when the
// policy does not show it any more, and when the proxy is ended: all of its
// resources, which the cloud has observed.
func TestProxyFarewell(t *testing.T) {
	t.Parallel()
	c := newChild(t, "--xmpp-devices=false")
	c.start()
	g := newGadget("gadget")
	count := &tally{Observer: g, now: map[string]int{}}
	at, _ := onLAN(t, count)
	policy := filepath.Join(t.TempDir(), "policy.json")
	const all, none = `[{}]`, `[]`
	write(t, policy, all)
	proxy := startProc(t, exec.Command("farreach", "proxy", "--profile", filepath.Join(c.home, "addr.json"), "--state", filepath.Join(c.home, "proxy.json"),
		"--device", at.String(), "--policy", policy), "HOME="+t.TempDir())
	eventually(t, func() bool { return count.watched() > 1 })
	write(t, policy, none)
	eventually(t, func() bool { return count.watched() == 0 })
	write(t, policy, all)
	eventually(t, func() bool { return count.watched() > 1 })
	if err := proxy.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return count.watched() == 0 })
}
