package cloudlink

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/oic/oiccoap"
)

// Publish tells the directory of the device's resources. The answer has the
// instance numbers that the directory gave them.
func (l *Link) Publish(ctx context.Context, p Publication) (Publication, error) {
	content, accept := l.info.Dialect.format()
	var doc any = p
	if l.info.Dialect == Classic {
		doc = classicPublication(p)
	}
	body, err := oic.Encode(content, doc)
	if err != nil {
		return Publication{}, fmt.Errorf("publish %s: %w", p.Device, err)
	}
	resp, err := l.peer.Handle(ctx, &oic.Request{
		Op: oic.Update, Href: pathRD + "?rt=oic.wk.rdpub", Format: content, Accept: accept, Body: body,
	})
	if err != nil {
		return Publication{}, fmt.Errorf("publish %s: %w", p.Device, err)
	}
	p, err = onePublication(resp.Format, resp.Body)
	if err != nil {
		return Publication{}, fmt.Errorf("publish: the answer: %w", err)
	}
	return p, nil
}

// classicLink is a link in the form of IoTivity classic, whose directory wants
// the instance number of each: 0 of one that it does not know.
type classicLink struct {
	Href       string     `json:"href"`
	Types      []string   `json:"rt"`
	Interfaces []string   `json:"if"`
	Instance   int64      `json:"ins"`
	Policy     oic.Policy `json:"p"`
	Title      string     `json:"title,omitempty"`
}

// classicPublication is p in the form of IoTivity classic.
func classicPublication(p Publication) any {
	doc := struct {
		Device string        `json:"di"`
		Name   string        `json:"n"`
		TTL    int           `json:"ttl"`
		Links  []classicLink `json:"links"`
	}{p.Device, p.Name, p.TTL, []classicLink{}}
	for _, l := range p.Links {
		doc.Links = append(doc.Links, classicLink{l.Href, l.Types, l.Interfaces, l.Instance, l.Policy, l.Title})
	}
	return doc
}

// unpublishAtOnce is how many instance numbers fit one request: pdev sends ten.
// The classic cloud reads the first only.
const unpublishAtOnce = 10

// Unpublish takes resources out of the directory, by instance number. If some are
// not there the others are taken out all the same, and the error is that refusal.
func (l *Link) Unpublish(ctx context.Context, device string, ins []int64) error {
	atOnce := unpublishAtOnce
	if l.info.Dialect == Classic {
		atOnce = 1
	}
	var absent error
	for some := range slices.Chunk(ins, atOnce) {
		query := "di=" + url.QueryEscape(device)
		for _, n := range some {
			query += "&ins=" + strconv.FormatInt(n, 10)
		}
		_, err := l.peer.Handle(ctx, &oic.Request{Op: oic.Delete, Href: pathRD + "?" + query})
		if isAbsent(err) {
			absent = fmt.Errorf("unpublish %s: %w", device, err)
		} else if err != nil {
			return fmt.Errorf("unpublish %s: %w", device, err)
		}
	}
	return absent
}

// isAbsent reports whether a directory refuses to take out what it has not.
func isAbsent(err error) bool {
	s := statusOf(err)
	return s == oic.BadRequest || s == oic.NotFound
}

// Discover lists the devices that who is signed in may see, with the hrefs as
// they are on the device. If they have too many links for one answer, which some
// hundred devices have, only that of its description comes with each.
func (l *Link) Discover(ctx context.Context) ([]Publication, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	all, err := l.discover(ctx, "")
	if s, _ := oic.StatusOf(err); s == oic.TooLarge || s == oic.BadRequest { // beyond some limit of theirs or of ours
		all, err = l.discover(ctx, "rt=oic.wk.d")
	}
	if err != nil {
		return nil, fmt.Errorf("discover: %w", err)
	}
	return all, nil
}

// discover asks for content format 60, in which the devices have names.
func (l *Link) discover(ctx context.Context, query string) ([]Publication, error) {
	req := &coap.Message{Code: coap.GET}
	req.SetPath(pathRes)
	req.SetQuery(query)
	oiccoap.SetAccept(req, oic.CBOR)
	m, err := l.conn.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, err := oiccoap.FromResponse(m)
	if err != nil {
		return nil, err
	}
	all, err := oic.ParseLinks(resp.Format, resp.Body)
	if err != nil {
		return nil, fmt.Errorf("the answer: %w", err)
	}
	for _, p := range all {
		for i := range p.Links { // what stands in front of the di is each cloud's choice
			if _, href, ok := strings.Cut(p.Links[i].Href, "/"+p.Device+"/"); ok {
				p.Links[i].Href = "/" + href
			}
		}
	}
	return all, nil
}

// publish answers POST /oic/rd.
func (s *session) publish(ctx context.Context, req *oic.Request) (outcome, error) {
	if len(req.Body) > maxPublication {
		return outcome{}, oic.Errorf(oic.TooLarge, "%d bytes published, at most %d are taken", len(req.Body), maxPublication)
	}
	p, err := onePublication(format(req), req.Body)
	if err != nil {
		return outcome{}, err
	}
	if len(p.Links) == 0 && s.classic.Load() {
		return outcome{}, missing(true, "no links")
	}
	if err := checkPublication(req.From, &p); err != nil {
		return outcome{}, err
	}
	if p, err = s.srv.cfg.Backend.Publish(ctx, req.From, p); err != nil {
		return outcome{}, err
	}
	out, err := s.published(req, p)
	out.then = func() { s.watch.add(p.Links) }
	return out, err
}

// answerHead is room for what stands in front of the body of an answer, bytes.
const answerHead = 64

// published is the answer to a publication: the same with the instance numbers.
// If that is longer than the peer takes (rule 8), there is in it what devices
// look for, href and ins of the links (section 3.5), and of these as many as
// fit: what is published already must not be told to have failed.
func (s *session) published(req *oic.Request, p Publication) (outcome, error) {
	out, err := answer(req, oic.Changed, p)
	room := s.conn.MaxResponse() - answerHead
	if err != nil || len(out.resp.Body) <= room || s.conn.Peer().BlockWise {
		return out, err
	}
	type numbered struct {
		Href     string `json:"href"`
		Instance int64  `json:"ins"`
	}
	brief := struct {
		Device string     `json:"di"`
		Links  []numbered `json:"links"`
	}{p.Device, make([]numbered, len(p.Links))}
	for i, l := range p.Links {
		brief.Links[i] = numbered{l.Href, l.Instance}
	}
	for {
		if out, err = answer(req, oic.Changed, brief); err != nil || len(out.resp.Body) <= room {
			return out, err
		}
		n := len(brief.Links)
		if n == 0 {
			return outcome{resp: &oic.Response{Status: oic.Changed}}, nil
		}
		brief.Links = brief.Links[:min(n-1, n*room/len(out.resp.Body))]
	}
}

// onePublication reads {di, n, ttl or lt, links}; without links there is nothing
// to read.
func onePublication(f oic.ContentFormat, body []byte) (Publication, error) {
	sets, err := oic.ParseLinks(f, body)
	if err != nil {
		return Publication{}, err
	}
	switch {
	case len(sets) == 0:
		return Publication{}, nil
	case len(sets) > 1:
		return Publication{}, oic.Errorf(oic.BadRequest, "links of %d devices, not of one", len(sets))
	}
	return sets[0], nil
}

// checkPublication refuses what is not who's own, or is no link.
func checkPublication(who oic.Identity, p *Publication) error {
	switch {
	case who.Device == "":
		return oic.Errorf(oic.Forbidden, "only a device publishes")
	case p.Device == "":
		p.Device = who.Device
	case !strings.EqualFold(p.Device, who.Device):
		return oic.Errorf(oic.Forbidden, "this connection is signed in for another")
	}
	switch n := len(p.Links); {
	case n == 0:
		return oic.Errorf(oic.BadRequest, "no links")
	case n > maxLinks:
		return oic.Errorf(oic.TooLarge, "%d links, at most %d are taken", n, maxLinks)
	}
	for _, l := range p.Links {
		if !strings.HasPrefix(l.Href, "/") {
			return oic.Errorf(oic.BadRequest, "href %.60q does not begin with a slash", l.Href)
		}
	}
	return nil
}

// unpublish answers DELETE /oic/rd?di=…&ins=…
func (s *session) unpublish(ctx context.Context, req *oic.Request, query string) (outcome, error) {
	who, device := req.From, oic.QueryValue(query, "di")
	if who.Device == "" {
		return outcome{}, oic.Errorf(oic.Forbidden, "only a device publishes")
	}
	if err := same(who, "", device); err != nil {
		return outcome{}, err
	}
	var ins []int64
	for _, v := range oic.QueryValues(query, "ins") {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return outcome{}, oic.Errorf(oic.BadRequest, "ins %.20q is not a number", v)
		}
		ins = append(ins, n)
	}
	if err := s.srv.cfg.Backend.Unpublish(ctx, who, who.Device, ins); err != nil {
		return outcome{}, err
	}
	return outcome{resp: &oic.Response{Status: oic.Deleted}, then: func() { s.watch.drop(ins) }}, nil
}

// selector answers GET /oic/rd, by which devices choose among directories.
func (s *session) selector(req *oic.Request) (outcome, error) {
	return answer(req, oic.Content, struct {
		Bias int `json:"sel"`
	}{0})
}

// discover answers GET /oic/res with the devices of who. The links are a flat
// array with endpoints, for without these OCF clients drop them (rule 18); in
// content format 60 there is one object for each device, as clients of
// OIC 1.1 know it, whose links do not repeat what is the same in all. Those of
// IoTivity classic get it unasked, with hrefs below /oic/route, and 4.04 if
// there is none.
func (s *session) discover(ctx context.Context, who oic.Identity, req *oic.Request) (*oic.Response, error) {
	all, err := s.srv.cfg.Backend.Devices(ctx, who)
	if err != nil {
		return nil, err
	}
	_, query := oic.SplitHref(req.Href)
	rt, di := oic.QueryValues(query, "rt"), oic.QueryValues(query, "di")
	eps := []oic.Endpoint{{URI: s.address(), Priority: 1}}
	flat, nested, front := []oic.Link{}, []Publication{}, ""
	if s.classic.Load() {
		front = pathRoute
	}
	for _, p := range all {
		if len(di) > 0 && !slices.ContainsFunc(di, func(d string) bool { return strings.EqualFold(d, p.Device) }) {
			continue
		}
		links := routedLinks(front, p, rt, eps)
		flat = append(flat, links...)
		if len(links) > 0 || len(rt) == 0 {
			p.Links = briefly(links)
			nested = append(nested, p)
		}
	}
	f := format(req)
	if front == pathRoute {
		f = cmp.Or(req.Accept, oic.CBOR)
		if len(flat) == 0 {
			return nil, oic.Errorf(oic.NotFound, "no such resource")
		}
	}
	var v any = flat
	if f == oic.CBOR {
		v = nested
	}
	body, err := oic.Encode(f, v)
	if err != nil {
		return nil, oic.Errorf(oic.NotAcceptable, "%v is not a form of /oic/res", f)
	}
	if len(body) > s.longest() {
		return nil, oic.Errorf(oic.TooLarge, "an answer of %d bytes: ask with ?di= or ?rt=", len(body))
	}
	return &oic.Response{Status: oic.Content, Format: f, Body: body}, nil
}

// routedLinks are the discoverable links of p that match one of rt, as they
// are reached through this server.
func routedLinks(front string, p Publication, rt []string, eps []oic.Endpoint) []oic.Link {
	links := []oic.Link{}
	for _, l := range p.Links {
		if l.Policy.Mask&oic.Discoverable == 0 || !l.Matches(rt) {
			continue
		}
		l.Href = front + "/" + p.Device + l.Href
		l.Anchor, l.Device, l.Endpoints = "ocf://"+p.Device, p.Device, eps
		links = append(links, l)
	}
	return links
}

// briefly returns links without what is the same in all links of a device.
func briefly(links []oic.Link) []oic.Link {
	brief := slices.Clone(links)
	for i := range brief {
		brief[i].Anchor, brief[i].Device, brief[i].Endpoints, brief[i].Instance = "", "", nil, 0
	}
	return brief
}

// longest is how long an answer of the server itself may be, bytes.
func (s *session) longest() int {
	if s.conn.Peer().BlockWise {
		return coap.MaxBlockBody
	}
	return maxSigned
}

// address is the URI of this server for whoever is at the other end.
func (s *session) address() string {
	scheme := "coap+"
	if s.conn.TLS() != nil {
		scheme = "coaps+"
	}
	scheme += s.conn.Transport().String() + "://"
	if s.srv.cfg.Address != "" && s.conn.Transport() == coap.TCP {
		return scheme + s.srv.cfg.Address
	}
	return scheme + s.conn.LocalAddr().String()
}
