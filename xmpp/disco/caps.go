package disco

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/stanza"
)

// NSCaps is the namespace of entity capabilities (XEP-0115).
const NSCaps = "http://jabber.org/protocol/caps"

// Ver is the verification string of i (XEP-0115, section 5.1), by SHA-1 as all
// implementations have it.
func (i *Info) Ver() string {
	var parts []string
	for _, id := range i.Identities {
		parts = append(parts, id.Category+"/"+id.Type+"/"+id.Lang+"/"+id.Name)
	}
	slices.Sort(parts)
	features := slices.Sorted(slices.Values(i.Features))
	parts = append(parts, features...)
	forms := slices.Clone(i.Forms)
	slices.SortFunc(forms, func(a, b Form) int { return strings.Compare(a.Type, b.Type) })
	for _, f := range forms {
		if f.Type == "" { // of no type: left out (section 5.4)
			continue
		}
		parts = append(parts, f.Type)
		for _, name := range sortedNames(f.Fields) {
			parts = append(parts, name)
			parts = append(parts, slices.Sorted(slices.Values(f.Fields[name]))...)
		}
	}
	sum := sha1.Sum([]byte(strings.Join(append(parts, ""), "<")))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Caps is what goes into our presence. node is a URI of the program.
func (i *Info) Caps(node string) stanza.Element {
	return stanza.Element{NS: NSCaps, Name: "c", Attrs: []stanza.Attr{
		{Name: "hash", Value: "sha-1"}, {Name: "node", Value: node}, {Name: "ver", Value: i.Ver()}}}
}

// maxCached is how many kinds of entities a Cache knows.
const maxCached = 256

// Cache remembers what verification strings stand for. The zero value is ready
// and may be used from several goroutines.
type Cache struct {
	mu    sync.Mutex // guards what follows
	known map[string]Info
}

// Info returns what the sender of a presence is and can do. It asks unless one
// with the same string was asked before. What does not fit the string it is for
// is returned, but not remembered: somebody may want to spoil the cache
// (XEP-0115, section 8).
func (c *Cache) Info(ctx context.Context, s *xmpp.Session, p *stanza.Presence) (Info, error) {
	node, ver := capsOf(p)
	if ver == "" {
		return Query(ctx, s, p.From, "")
	}
	c.mu.Lock()
	info, ok := c.known[ver]
	c.mu.Unlock()
	if ok {
		return info, nil
	}
	info, err := Query(ctx, s, p.From, node+"#"+ver)
	if err == nil && info.Ver() == ver && info.valid() {
		c.put(ver, info)
	}
	return info, err
}

func (c *Cache) put(ver string, info Info) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]Info{}
	}
	if len(c.known) >= maxCached {
		for old := range c.known { // any one
			delete(c.known, old)
			break
		}
	}
	c.known[ver] = info
}

// capsOf returns the node and string of a presence, "" if it has none by
// SHA-1.
func capsOf(p *stanza.Presence) (node, ver string) {
	for _, e := range p.Children {
		if e.NS == NSCaps && e.Name == "c" && e.Attr("hash") == "sha-1" {
			return e.Attr("node"), e.Attr("ver")
		}
	}
	return "", ""
}

// valid reports whether nothing in i stands for two things: no part twice, and
// no part with the character that separates them (XEP-0115, section 5.4).
func (i *Info) valid() bool {
	seen := map[string]bool{}
	once := func(s string) bool {
		ok := !seen[s] && !strings.Contains(s, "<")
		seen[s] = true
		return ok
	}
	for _, id := range i.Identities {
		if !once("identity " + id.Category + "/" + id.Type + "/" + id.Lang + "/" + id.Name) {
			return false
		}
	}
	for _, f := range i.Features {
		if !once("feature " + f) {
			return false
		}
	}
	for _, f := range i.Forms {
		if !once("form " + f.Type) {
			return false
		}
		for name, values := range f.Fields {
			if strings.Contains(name+strings.Join(values, ""), "<") {
				return false
			}
		}
	}
	return true
}

func sortedNames(fields map[string][]string) []string { return slices.Sorted(maps.Keys(fields)) }
