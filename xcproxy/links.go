package xcproxy

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/farreach/farreach/oic"
)

// links are those that may be seen, as a cloud gets them: without addresses, and
// without /oic/res.
func (m *mirror) links() []oic.Link {
	m.mu.Lock()
	defer m.mu.Unlock()
	var links []oic.Link
	for _, l := range m.visible {
		if l.Policy.Mask&oic.Discoverable != 0 {
			links = append(links, l.Link)
		}
	}
	return links
}

// name is what people call the device.
func (m *mirror) name() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.device.Name
}

// listed are the links for /oic/res, each with its anchor, of those types. That
// of /oic/d has the name of the device as title, so that who looks at the proxy
// need not ask each.
func (m *mirror) listed(types []string) []oic.Link {
	links := m.links()
	if !slices.ContainsFunc(links, func(l oic.Link) bool { return l.Href == pathDevice }) {
		m.mu.Lock()
		of := append(slices.Clone(m.device.Types), "oic.wk.d")
		m.mu.Unlock()
		links = slices.Insert(links, 0, oic.Link{Href: pathDevice, Types: of, Interfaces: []string{oic.IfRead, oic.IfBaseline},
			Policy: oic.Policy{Mask: oic.Discoverable}})
	}
	links = slices.DeleteFunc(links, func(l oic.Link) bool { return !l.Matches(types) })
	for i := range links {
		if links[i].Anchor = "ocf://" + m.id; links[i].Href == pathDevice {
			links[i].Title = m.name()
		}
	}
	return links
}

// directory answers for /oic/res by what is known: the device is not asked, and
// there is no way for an address to get out. It has no batch, which would show
// everything at once.
func (m *mirror) directory(req *oic.Request) (*oic.Response, error) {
	if !m.shown() {
		return nil, errAbsent(pathRes)
	}
	m.mu.Lock()
	here := m.here
	m.mu.Unlock()
	if !here {
		return nil, errUnreachable
	}
	_, query := oic.SplitHref(req.Href)
	self := oic.Link{Href: pathRes, Rel: []string{"self"}, Anchor: "ocf://" + m.id, Types: []string{"oic.wk.res"},
		Interfaces: []string{oic.IfLinkList, oic.IfBaseline}, Policy: oic.Policy{Mask: oic.Discoverable | oic.Observable}}
	var links []oic.Link
	if di := oic.QueryValues(query, "di"); len(di) == 0 || slices.ContainsFunc(di, func(s string) bool { return strings.EqualFold(s, m.id) }) {
		types := oic.QueryValues(query, "rt")
		if self.Matches(types) {
			links = append(links, self)
		}
		links = append(links, m.listed(types)...)
	}
	return listing(req, query, links)
}

// listing is links as a view of /oic/res.
func listing(req *oic.Request, query string, links []oic.Link) (*oic.Response, error) {
	switch oic.QueryValue(query, "if") {
	case "", oic.IfLinkList:
		return answer(req, links)
	case oic.IfBaseline:
		return answer(req, []oic.LinkCollection{{Types: []string{"oic.wk.res"}, Interfaces: []string{oic.IfLinkList, oic.IfBaseline}, Links: links}})
	}
	return nil, oic.Errorf(oic.BadRequest, "/oic/res has no such view here")
}

// observeDirectory tells of /oic/res until ctx ends.
func (m *mirror) observeDirectory(ctx context.Context, req *oic.Request, each func(*oic.Response)) error {
	var last []byte
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		resp, err := m.directory(req)
		if err != nil {
			return err
		}
		if string(last) != string(resp.Body) || last == nil {
			last = resp.Body
			each(resp)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// cleared is an answer that has links in it without what is not for outside.
func (m *mirror) cleared(resp *oic.Response) (*oic.Response, error) {
	if len(resp.Body) == 0 {
		return resp, nil
	}
	r := *resp
	body, err := m.clear(formatOf(resp), resp.Body)
	r.Body = body
	return &r, err
}

// clear writes a body with links, or with the items of a batch, without
// addresses and without what may not be seen.
func (m *mirror) clear(f oic.ContentFormat, body []byte) ([]byte, error) {
	var doc any
	if err := oic.Decode(f, body, &doc); err != nil {
		return nil, errUnreadable
	}
	m.mu.Lock()
	doc = m.without(doc)
	m.mu.Unlock()
	out, err := oic.Encode(f, doc)
	if err != nil {
		return nil, errUnreadable
	}
	return out, nil
}

// without takes out of a document the addresses, and of each array what links to
// something hidden. m.mu is held.
func (m *mirror) without(doc any) any {
	switch v := doc.(type) {
	case []any:
		kept := v[:0]
		for _, e := range v {
			if item, ok := e.(map[string]any); ok && !m.maySee(item) {
				continue
			}
			kept = append(kept, m.without(e))
		}
		return kept
	case map[string]any:
		_, link := v["href"]
		for key, value := range v {
			if key == "links" || link {
				v[key] = m.without(value)
			}
		}
		delete(v, "eps")
		if p, ok := v["p"].(map[string]any); ok && link {
			v["p"] = map[string]any{"bm": p["bm"]}
		}
	}
	return doc
}

// maySee reports whether an item without a link, or with one to something that
// may be seen, has it.
func (m *mirror) maySee(item map[string]any) bool {
	href, ok := item["href"].(string)
	if !ok {
		_, other := item["href"]
		return !other
	}
	path, ok := m.own(href)
	return ok && m.accessOf(path) != hidden
}

// own is the path of an href of this device; ok is false for that of another, or
// for an address.
func (m *mirror) own(href string) (path string, ok bool) {
	if rest, is := strings.CutPrefix(href, "ocf://"); is {
		host, p, _ := strings.Cut(rest, "/")
		if !strings.EqualFold(host, m.id) {
			return "", false
		}
		href = "/" + p
	}
	path, _ = oic.SplitHref(href)
	return path, strings.HasPrefix(path, "/")
}

// mayAll refuses a batch of which an item is for something that cannot be seen,
// or only be read. What is no array of items is none.
func (m *mirror) mayAll(req *oic.Request) error {
	if !isArray(req) {
		return nil
	}
	var items []struct {
		Href string `json:"href"`
	}
	format := req.Format
	if format == oic.NoFormat {
		format = oic.CBOR
	}
	if err := oic.Decode(format, req.Body, &items); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, it := range items {
		path, ok := m.own(it.Href)
		switch a := m.accessOf(path); {
		case !ok || a == hidden:
			return errAbsent(it.Href)
		case a == readOnly:
			return errReadOnly
		}
	}
	return nil
}

func isArray(req *oic.Request) bool {
	if req.Format == oic.JSON {
		return bytes.HasPrefix(bytes.TrimSpace(req.Body), []byte("["))
	}
	return len(req.Body) > 0 && req.Body[0]>>5 == 4
}
