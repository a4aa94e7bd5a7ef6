package xcproxy

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farreach/farreach/oic"
)

// mirror is a device of the local network as it is shown outside: an
// oic.Observer that asks another one.
type mirror struct {
	id    string
	log   *slog.Logger
	tasks sync.WaitGroup // the fans

	telling sync.Mutex // guards stands; held while OnChange is called
	stands  Change

	mu      sync.Mutex // guards what follows, and the fans
	device  Found      // as it was found last
	here    bool
	policy  Policy
	visible []shownLink   // in the order of device.Links
	changed chan struct{} // closed when the above changes

	follower func() // called then
	infos    map[string]info
	fans     map[fanKey]*fan
	watched  int  // watchers, of all fans
	odd      bool // that something is wrong with it was logged
}

// shownLink is a link that may be seen, without addresses.
type shownLink struct {
	oic.Link
	path   string // of Href
	access access
}

// info is an answer of /oic/d.
type info struct {
	resp  *oic.Response
	until time.Time
}

// The resources that every device has.
const (
	pathRes      = "/oic/res"
	pathDevice   = "/oic/d"
	pathPlatform = "/oic/p"
)

// infoLife is how long an answer of /oic/d counts, unless the device has another
// name in the meantime: each stream reads it every minute, and an idle device is
// to be left alone.
const infoLife = 10 * time.Minute

func newMirror(id string, log *slog.Logger) *mirror {
	return &mirror{id: id, log: log.With("device", id), changed: make(chan struct{}),
		infos: map[string]info{}, fans: map[fanKey]*fan{}}
}

// found takes what is known of the device by now.
func (m *mirror) found(f Found, p Policy) {
	m.mu.Lock()
	moved := m.device.Device != f.Device
	if m.device.Name != f.Name || !slices.Equal(m.device.Types, f.Types) || moved {
		clear(m.infos)
	}
	m.device, m.here, m.policy = f, true, p
	m.see()
	var restart []*fan
	for _, fan := range m.fans {
		if moved {
			restart = append(restart, fan)
		}
	}
	m.mu.Unlock()
	for _, fan := range restart {
		fan.again()
	}
}

// lost takes it that the device is gone.
func (m *mirror) lost() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.here {
		return
	}
	m.here = false
	m.news()
	for _, f := range m.fans {
		f.cut(errUnreachable)
	}
}

// permit shows what p allows. Observations that are not allowed any more end as
// if the resource had been deleted.
func (m *mirror) permit(p Policy) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.policy = p
	m.see()
}

// see computes what is visible, and ends the observations of what is not. m.mu is
// held.
func (m *mirror) see() {
	m.visible = m.visible[:0:0]
	for i := range m.device.Links {
		if len(m.visible) == maxLinks {
			m.once("too many links: the others are not shown", "links", len(m.device.Links))
			break
		}
		link := m.device.Links[i]
		path, _ := oic.SplitHref(link.Href)
		a := m.policy.of(m.id, m.device.Types, &link)
		if a == hidden || !strings.HasPrefix(path, "/") || path == pathRes {
			continue
		}
		link.Endpoints, link.Device, link.Instance, link.Anchor = nil, "", 0, ""
		link.Policy.Mask &= oic.Discoverable | oic.Observable
		m.visible = append(m.visible, shownLink{link, path, a})
	}
	m.news()
	for key, f := range m.fans {
		path, _ := oic.SplitHref(key.href)
		if m.accessOf(path) == hidden {
			f.cut(errAbsent(path))
		}
	}
}

// news wakes who watches what is known of the device. m.mu is held.
func (m *mirror) news() {
	close(m.changed)
	m.changed = make(chan struct{})
	if m.follower != nil {
		m.follower()
	}
}

// once logs what is wrong with the device, if that is the first thing. m.mu is
// held.
func (m *mirror) once(msg string, args ...any) {
	if !m.odd {
		m.odd = true
		m.log.Warn(msg, args...)
	}
}

// shown reports whether anything of the device may be seen.
func (m *mirror) shown() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.visible) > 0
}

// present reports whether the device is there.
func (m *mirror) present() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.here
}

// reachable reports whether the device is there, and may be seen.
func (m *mirror) reachable() bool { return m.present() && m.shown() }

// follow calls changed, which must not wait, whenever something else is known of
// the device, until it is called again; nil: nobody follows.
func (m *mirror) follow(changed func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.follower = changed
}

// accessOf is what may be done with a path. The resources that say what the
// device is can be read if any other may be seen, listed or not. m.mu is held.
func (m *mirror) accessOf(path string) access {
	for i := range m.visible {
		if m.visible[i].path == path {
			return m.visible[i].access
		}
	}
	if len(m.visible) > 0 && (path == pathDevice || path == pathPlatform) {
		return readOnly
	}
	return hidden
}

// listing reports whether what a resource shows has links of others in it.
// m.mu is held.
func (m *mirror) listing(path string) bool {
	for i := range m.visible {
		if l := &m.visible[i]; l.path == path {
			return slices.Contains(l.Types, "oic.wk.col") || slices.Contains(l.Interfaces, oic.IfLinkList) || slices.Contains(l.Interfaces, oic.IfBatch)
		}
	}
	return false
}

// admit returns whom to ask, and whether the answer has links in it.
func (m *mirror) admit(req *oic.Request) (device oic.Observer, listing bool, err error) {
	path, _ := oic.SplitHref(req.Href)
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.accessOf(path)
	switch {
	case a == hidden:
		return nil, false, errAbsent(path)
	case a == readOnly && req.Op != oic.Retrieve:
		return nil, false, errReadOnly
	case !m.here:
		return nil, false, errUnreachable
	}
	return m.device.Device, m.listing(path), nil
}

// Handle asks the device, if req is for what may be seen.
func (m *mirror) Handle(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	path, _ := oic.SplitHref(req.Href)
	switch {
	case path == pathRes:
		return m.directory(req)
	case path == pathDevice && req.Op == oic.Retrieve:
		return m.about(ctx, req)
	}
	device, listing, err := m.admit(req)
	if err != nil {
		return nil, err
	}
	if listing && req.Op != oic.Retrieve {
		if err := m.mayAll(req); err != nil {
			return nil, err
		}
	}
	resp, err := device.Handle(ctx, inward(req))
	if err != nil {
		return nil, m.refusal(ctx, err, listing)
	}
	if req.Op != oic.Retrieve {
		m.forget() // /oic/con has the name that is in /oic/d
	}
	if listing {
		return m.cleared(resp)
	}
	return resp, nil
}

// forget has /oic/d read anew.
func (m *mirror) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.infos)
}

// inward is req as the device gets it: who asks from outside is nobody on the
// local network.
func inward(req *oic.Request) *oic.Request {
	r := *req
	r.From, r.Group, r.Reached = oic.Identity{}, false, nil
	return &r
}

// refusal is why the device did not do it. What a batch says of each item is
// cleared as any answer.
func (m *mirror) refusal(ctx context.Context, err error, listing bool) error {
	err = outward(ctx, err)
	e, ok := err.(*oic.StatusError)
	if !ok || !listing || e.Body == nil {
		return err
	}
	told := *e
	body, err := m.clear(e.Format, e.Body)
	if err != nil {
		return err
	}
	told.Body = body
	return &told
}

// about answers for /oic/d: with what is known, or else by asking the device,
// which is believed only if it does not say that it is another one.
func (m *mirror) about(ctx context.Context, req *oic.Request) (*oic.Response, error) {
	device, _, err := m.admit(req)
	if err != nil {
		return nil, err
	}
	key := req.Href + " " + req.Accept.String()
	m.mu.Lock()
	known := m.infos[key]
	m.mu.Unlock()
	if known.resp != nil && time.Now().Before(known.until) {
		return clone(known.resp), nil
	}
	resp, err := device.Handle(ctx, inward(req))
	if err != nil {
		return nil, outward(ctx, err)
	}
	var says struct {
		ID string `json:"di"`
	}
	if err := oic.Decode(formatOf(resp), resp.Body, &says); err != nil {
		return nil, errUnreadable
	}
	if !strings.EqualFold(says.ID, m.id) {
		m.mu.Lock()
		m.once("what answers in the place of the device is another one", "says", says.ID)
		m.mu.Unlock()
		return nil, errOther
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.device.Device == device {
		if len(m.infos) >= 16 { // by views and formats there are few
			clear(m.infos)
		}
		m.infos[key] = info{clone(resp), time.Now().Add(infoLife)}
	}
	return resp, nil
}

// answer is doc as an answer to req, of which only reading is.
func answer(req *oic.Request, doc any) (*oic.Response, error) {
	if req.Op != oic.Retrieve {
		return nil, oic.Errorf(oic.MethodNotAllowed, "this can only be read")
	}
	format := oic.OCF
	switch req.Accept {
	case oic.NoFormat, oic.OCF:
	case oic.CBOR, oic.JSON:
		format = req.Accept
	default:
		return nil, oic.Errorf(oic.NotAcceptable, "only CBOR")
	}
	body, err := oic.Encode(format, doc)
	return &oic.Response{Status: oic.Content, Format: format, Body: body}, err
}

// formatOf is the format of a body, which not every device names.
func formatOf(resp *oic.Response) oic.ContentFormat {
	if resp.Format == oic.NoFormat {
		return oic.CBOR
	}
	return resp.Format
}

func clone(resp *oic.Response) *oic.Response {
	r := *resp
	r.Body = bytes.Clone(resp.Body)
	return &r
}
