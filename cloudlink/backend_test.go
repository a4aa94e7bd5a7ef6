package cloudlink_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// cloud is a Backend that remembers in maps and knows one account, u-1: enough
// for what is said on the wire. Who may do what is tested with the real one.
type cloud struct {
	ttl time.Duration // of access tokens; 0: for ever

	mu       sync.Mutex // guards what follows
	codes    map[string]string
	access   map[string]login
	refresh  map[string]login
	devices  map[string]*cloudDevice
	reports  []reported
	tokens   int
	calls    []string
	reported chan struct{} // gets one for each report, if there is room
	down     error         // what sign-ups and sign-ins get
	lapsed   bool          // links are there no more
}

type login struct {
	device string
	until  time.Time
}

type cloudDevice struct {
	name    string
	links   []oic.Link
	session cloudlink.Session
}

type reported struct {
	who  oic.Identity
	href string
	body string // JSON
}

const account = "u-1"

func newCloud() *cloud {
	c := &cloud{reported: make(chan struct{}, 4096)}
	c.reset()
	return c
}

// reset forgets everything.
func (c *cloud) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codes = map[string]string{"code-1": ""}
	c.access, c.refresh = map[string]login{}, map[string]login{}
	c.devices = map[string]*cloudDevice{}
	c.reports, c.calls, c.tokens = nil, nil, 0
}

var refused = oic.Errorf(oic.Unauthorized, "not known")

func (c *cloud) SignUp(_ context.Context, s cloudlink.SignUp) (cloudlink.Grant, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return cloudlink.Grant{}, c.down
	}
	if !s.From.Anonymous() {
		return cloudlink.Grant{}, oic.Errorf(oic.Forbidden, "signed in")
	}
	used, ok := c.codes[s.Code.Reveal()]
	if !ok || used != "" && used != s.Device {
		return cloudlink.Grant{}, refused
	}
	c.codes[s.Code.Reveal()] = s.Device
	if c.devices[s.Device] == nil {
		c.devices[s.Device] = &cloudDevice{}
	}
	return c.grant(s.Device), nil
}

// grant makes new tokens: at-1, rt-1, at-2, … c.mu is held.
func (c *cloud) grant(device string) cloudlink.Grant {
	c.tokens++
	g := cloudlink.Grant{
		Account: account,
		Access:  secret.String(fmt.Sprintf("at-%d", c.tokens)),
		Refresh: secret.String(fmt.Sprintf("rt-%d", c.tokens)),
	}
	if c.ttl > 0 {
		g.Expires = time.Now().Add(c.ttl)
	}
	c.access[g.Access.Reveal()] = login{device, g.Expires}
	c.refresh[g.Refresh.Reveal()] = login{device: device}
	return g
}

// pair makes a code.
func (c *cloud) pair(code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codes[code] = ""
}

// person makes a token for a person.
func (c *cloud) person(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.access[token] = login{}
}

func (c *cloud) SignIn(_ context.Context, l cloudlink.Login) (oic.Identity, time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return oic.Identity{}, time.Time{}, c.down
	}
	known, ok := c.access[l.Access.Reveal()]
	if !ok || known.device != l.Device || l.Account != account || !known.until.IsZero() && !time.Now().Before(known.until) {
		return oic.Identity{}, time.Time{}, refused
	}
	return oic.Identity{Account: account, Device: l.Device}, known.until, nil
}

func (c *cloud) Bearer(_ context.Context, _ netip.Addr, token secret.String) (oic.Identity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.access[token.Reveal()]
	if !ok {
		return oic.Identity{}, refused
	}
	return oic.Identity{Account: account, Device: known.device}, nil
}

func (c *cloud) Refresh(_ context.Context, r cloudlink.Refresh) (cloudlink.Grant, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "refresh")
	known, ok := c.refresh[r.Token.Reveal()]
	if !ok || known.device != r.Device {
		return cloudlink.Grant{}, refused
	}
	return c.grant(r.Device), nil
}

func (c *cloud) SignOff(_ context.Context, who oic.Identity) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.devices, who.Device)
	return nil
}

func (c *cloud) Publish(_ context.Context, who oic.Identity, p cloudlink.Publication) (cloudlink.Publication, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf("publish %d", len(p.Links)))
	d := c.devices[who.Device]
	if p.Name != "" {
		d.name = p.Name
	}
	for i := range p.Links {
		p.Links[i].Instance = 42 + int64(i)
		d.links = slices.DeleteFunc(d.links, func(l oic.Link) bool { return l.Href == p.Links[i].Href })
	}
	d.links = append(d.links, p.Links...)
	return p, nil
}

func (c *cloud) Unpublish(_ context.Context, who oic.Identity, _ string, ins []int64) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf("unpublish %d", ins))
	d := c.devices[who.Device]
	before := len(d.links)
	defer func() {
		if len(ins) > 0 && len(d.links) == before {
			err = oic.Errorf(oic.BadRequest, "no link has one of these instance numbers")
		}
	}()
	d.links = slices.DeleteFunc(d.links, func(l oic.Link) bool {
		return len(ins) == 0 || slices.Contains(ins, l.Instance)
	})
	return nil
}

func (c *cloud) Attach(_ context.Context, who oic.Identity, s cloudlink.Session) (func(), []oic.Link, error) {
	c.mu.Lock()
	d := c.devices[who.Device]
	if d == nil {
		c.mu.Unlock()
		return nil, nil, refused
	}
	old := d.session
	d.session = s
	links := slices.Clone(d.links)
	c.mu.Unlock()
	if old != nil {
		old.Close("replaced by a newer connection")
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if d.session == s {
			d.session = nil
		}
	}, links, nil
}

func (c *cloud) Report(_ context.Context, who oic.Identity, reports []cloudlink.Report) []error {
	errs := make([]error, len(reports))
	for i, r := range reports {
		errs[i] = c.report(who, r.Href, r.Rep)
	}
	return errs
}

func (c *cloud) report(who oic.Identity, href string, rep *oic.Response) error {
	text, err := oic.ToJSON(rep.Format, rep.Body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	lapsed := c.lapsed
	if !lapsed {
		c.reports = append(c.reports, reported{who, href, string(text)})
	}
	c.mu.Unlock()
	if lapsed {
		return oic.Errorf(oic.NotFound, "not a published resource")
	}
	select {
	case c.reported <- struct{}{}:
	default:
	}
	return nil
}

func (c *cloud) Event(_ context.Context, who oic.Identity, href string, rep *oic.Response) error {
	c.mu.Lock()
	down, published := c.down, false
	for _, l := range c.devices[who.Device].links {
		published = published || l.Href == href
	}
	c.mu.Unlock()
	switch {
	case down != nil:
		return down
	case !published:
		return oic.Errorf(oic.NotFound, "not a published resource")
	}
	return c.report(who, href, rep)
}

func (c *cloud) Devices(context.Context, oic.Identity) (all []cloudlink.Publication, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for di, d := range c.devices {
		all = append(all, cloudlink.Publication{Device: di, Name: d.name, Links: slices.Clone(d.links)})
	}
	slices.SortFunc(all, func(a, b cloudlink.Publication) int { return strings.Compare(a.Device, b.Device) })
	return all, nil
}

func (c *cloud) Device(_ context.Context, who oic.Identity, di string) (oic.Observer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.devices[di]
	switch {
	case who.Device != "":
		return nil, oic.Errorf(oic.Forbidden, "devices do not command")
	case d == nil:
		return nil, oic.Errorf(oic.NotFound, "no device %s", di)
	case d.session == nil:
		return nil, oic.ErrOffline
	}
	return d.session, nil
}

func (c *cloud) called() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

func (c *cloud) seen() []reported {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.reports)
}
