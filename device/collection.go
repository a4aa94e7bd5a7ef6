package device

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/farreach/farreach/oic"
)

// Collection says what a collection of resources of one host is (OCF core,
// collections). Only Href has no default.
type Collection struct {
	Href      string
	Types     []string // beside oic.wk.col, which stands last
	Title     string
	Members   []string // hrefs; one that is not there, or not yet, is passed over
	Allowed   []string // rts: the types of what may be made in it; nil: all
	Mandatory []string // rts-m: those that it always has

	// Make makes a resource for oic.if.create; the host adds it. nil: none can
	// be made. It is not called twice at once.
	Make func(ctx context.Context, c Creation) (Resource, error)
}

// Creation is what a request to make a resource wants.
type Creation struct {
	Types      []string
	Interfaces []string
	Policy     oic.Policy
	Rep        []byte // CBOR; see oic.Decode
}

// Bounds of collections.
const (
	maxMembers = 256 // of one, when more are made
	maxNested  = 4   // collections in collections that a batch goes through
)

// AddCollection makes k reachable. It shows the links of its members with
// oic.if.ll, which is the default, and what they hold with oic.if.b: those of
// collections among them too, down to the fourth. It panics as Add does.
func (h *Host) AddCollection(k Collection) {
	c := &collection{h: h, cfg: k}
	for _, href := range k.Members {
		c.join(href)
	}
	h.Add(c)
}

// collection is a Collection that is hosted.
type collection struct {
	h   *Host
	cfg Collection

	mu   sync.Mutex // guards what follows
	list []place
	last int64 // ins
}

// place is a member and its number in the collection.
type place struct {
	href string
	ins  int64
}

func (k *collection) join(href string) (ins int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last++
	k.list = append(k.list, place{href, k.last})
	return k.last
}

func (k *collection) Link() oic.Link {
	link := oic.Link{Href: k.cfg.Href, Types: append(slices.Clone(k.cfg.Types), "oic.wk.col"), Title: k.cfg.Title,
		Interfaces: []string{oic.IfLinkList, oic.IfBatch, oic.IfBaseline},
		Policy:     oic.Policy{Mask: oic.Discoverable | oic.Observable}}
	if k.cfg.Make != nil {
		link.Interfaces = append(link.Interfaces, oic.IfCreate)
	}
	return link
}

// Retrieve is not called: represent needs more than an interface.
func (k *collection) Retrieve(context.Context, string) (any, error) { return nil, errElsewhere }

func (k *collection) represent(ctx context.Context, c *call) ([]byte, error) {
	switch c.iface {
	case oic.IfBatch:
		return c.readBatch(ctx, k)
	case oic.IfBaseline:
		return c.encode(struct {
			Allowed   []string   `json:"rts,omitempty"`
			Mandatory []string   `json:"rts-m,omitempty"`
			Links     []oic.Link `json:"links"`
		}{k.cfg.Allowed, k.cfg.Mandatory, k.links(c)})
	}
	return c.encode(k.links(c))
}

// present are the members that are there, but for those that c may not see.
func (k *collection) present(c *call) (found []*entry, ins []int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = slices.DeleteFunc(k.list, func(p place) bool {
		e, err := k.h.find(p.href)
		if err == nil && !(c.far && e.near) {
			found, ins = append(found, e), append(ins, p.ins)
		}
		return err != nil && k.made(p)
	})
	return found, ins
}

// made reports whether p was made in the collection: then it does not come
// back after it was deleted.
func (k *collection) made(p place) bool { return p.ins > int64(len(k.cfg.Members)) }

// links are those of the members that c asks for.
func (k *collection) links(c *call) []oic.Link {
	types, links := oic.QueryValues(c.query, "rt"), []oic.Link{}
	found, ins := k.present(c)
	for i, e := range found {
		if link := e.link; link.Matches(types) {
			link.Instance, link.Endpoints = ins[i], c.req.Reached
			links = append(links, link)
		}
	}
	return links
}

// members are the resources of a batch: those of collections in it take the
// place of these. Each comes once, and so no cycle is without end.
func (k *collection) members(c *call) (list []member) {
	types, seen := oic.QueryValues(c.query, "rt"), map[*entry]bool{c.e: true}
	var gather func(k *collection, depth int)
	gather = func(k *collection, depth int) {
		found, _ := k.present(c)
		for _, e := range found {
			if seen[e] {
				continue
			}
			seen[e] = true
			switch inner, ok := e.resource.(*collection); {
			case ok && depth < maxNested:
				gather(inner, depth+1)
			case !ok && e.resource != nil && e.link.Matches(types):
				list = append(list, member{e, e.link.Href})
			}
		}
	}
	gather(k, 1)
	return list
}

// creation is the body of a request to make a resource, and of its answer.
type creation struct {
	Href       string     `json:"href,omitempty"`
	Types      []string   `json:"rt"`
	Interfaces []string   `json:"if"`
	Policy     oic.Policy `json:"p"`
	Instance   int64      `json:"ins,omitempty"`
	Rep        encoded    `json:"rep"`
}

// Create makes a resource (oic.if.create).
func (k *collection) Create(ctx context.Context, rep []byte) (string, any, error) {
	if k.cfg.Make == nil {
		return "", nil, oic.Errorf(oic.MethodNotAllowed, "nothing can be made in %s", k.cfg.Href)
	}
	var want creation
	if err := oic.Decode(oic.OCF, rep, &want); err != nil {
		return "", nil, err
	}
	if err := k.check(&want); err != nil {
		return "", nil, err
	}
	r, err := k.cfg.Make(ctx, Creation{want.Types, want.Interfaces, want.Policy, want.Rep})
	if err != nil {
		return "", nil, err
	}
	e, err := k.h.add(r)
	if err != nil {
		return "", nil, err
	}
	one := call{h: k.h, e: e, iface: e.link.Interfaces[0], req: &oic.Request{}}
	resp, err := one.retrieve(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("read %s, which was made: %w", e.link.Href, err)
	}
	l := e.link
	return l.Href, creation{l.Href, l.Types, l.Interfaces, l.Policy, k.join(l.Href), resp.Body}, nil
}

func (k *collection) check(want *creation) error {
	if len(want.Types) == 0 || len(want.Rep) == 0 {
		return oic.Errorf(oic.BadRequest, "what is to be made needs rt and rep")
	}
	for _, t := range want.Types {
		if k.cfg.Allowed != nil && !slices.Contains(k.cfg.Allowed, t) {
			return oic.Errorf(oic.BadRequest, "%s takes no %.64s", k.cfg.Href, t)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.list) >= maxMembers {
		return oic.Errorf(oic.Forbidden, "%s has %d members, the most it can", k.cfg.Href, maxMembers)
	}
	return nil
}
