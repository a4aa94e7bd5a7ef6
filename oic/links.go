package oic

import (
	"math"
	"strings"
)

// LinkSet is the links of one device: what a device publishes at /oic/rd, and
// what /oic/res holds for each device in the form of OIC 1.1.
//
// The forms in which links travel are made with Encode: []Link is the flat
// one of OCF, []LinkSet that of OIC 1.1, and a LinkSet a publication.
type LinkSet struct {
	Device string `json:"di"`
	Name   string `json:"n,omitempty"`
	TTL    int    `json:"ttl"` // seconds; 0: without end
	Links  []Link `json:"links"`

	// Gateway is the di of the device that speaks for this one, which has no way
	// out of its own; "": it speaks for itself.
	Gateway string `json:"x.farreach.gateway,omitempty"`
}

// LinkCollection is /oic/res, or another collection of links, as
// oic.if.baseline shows it; for /oic/res it stands in an array.
type LinkCollection struct {
	Types      []string `json:"rt"`
	Interfaces []string `json:"if"`
	Links      []Link   `json:"links"`
}

// maxLinks is how many links one body may list: more do not fit into the
// largest message, 262,144 bytes, if each names a type and an endpoint.
const maxLinks = 2048

// ParseLinks reads links in any form that devices and clouds use: the flat
// array of OCF, the baseline form of it, the array of devices of OIC 1.0 and
// 1.1, and a publication. There is one LinkSet for each device, in the order
// of their first links; that of links which name no device has Device "". The
// Device of a link is what stood in the link itself.
//
// Where generations differ, all are understood: rt, if and rel as text or as
// an array of texts, di as text or as 16 bytes, ttl as lt, hrefs of the form
// "ocf://<di>/<path>". What is missing or has another type is left out, and so
// is a link without a path. What p says of ports is not looked at: see
// ParseDiscovery.
//
// f must be OCF, CBOR, JSON, or NoFormat for CBOR. The error is a *StatusError
// as for Decode, with 4.13 for 2,048 links and devices or more together.
func ParseLinks(f ContentFormat, b []byte) ([]LinkSet, error) {
	b, err := cborOf(f, b)
	if err != nil {
		return nil, err
	}
	p := linkParser{s: scanner{b: b}}
	return p.document()
}

func (p *linkParser) document() ([]LinkSet, error) {
	switch h := p.peek(); h.major {
	case majorArray:
		p.each(func() { p.entry("", true) })
	case majorMap:
		p.entry("", true)
	default:
		return nil, Errorf(BadRequest, "links are neither an array nor a map")
	}
	if p.links >= maxLinks {
		return nil, Errorf(TooLarge, "%d links and devices or more", maxLinks)
	}
	return p.sets, nil
}

// cborOf returns a body in CBOR, which check has let pass.
func cborOf(f ContentFormat, b []byte) ([]byte, error) {
	switch {
	case f == JSON:
		var err error
		if b, err = FromJSON(CBOR, b); err != nil {
			return nil, err
		}
	case !f.IsCBOR() && f != NoFormat:
		return nil, unsupported(f)
	}
	return b, check(b)
}

// linkParser walks CBOR that check has let pass. Each of its methods takes one
// item, whatever it turns out to be.
type linkParser struct {
	s     scanner
	sets  []LinkSet
	links int
	from  *origin // of the answer; nil: it does not matter
	ports ports   // of the link that is being read
}

func (p *linkParser) peek() head {
	at := p.s.at
	h, _ := p.s.head()
	p.s.at = at
	return h
}

func (p *linkParser) skip() { p.s.pass() }

// each calls element for every element of an array; anything else is skipped.
func (p *linkParser) each(element func()) {
	if p.peek().major != majorArray {
		p.skip()
		return
	}
	h, _ := p.s.head()
	for n := uint64(0); h.indefinite() || n < h.value; n++ {
		if h.indefinite() && p.s.ended() {
			return
		}
		element()
	}
}

// members calls member for every member of a map, with its key; anything else
// is skipped. member must take the value.
func (p *linkParser) members(member func(key string)) {
	if p.peek().major != majorMap {
		p.skip()
		return
	}
	h, _ := p.s.head()
	for n := uint64(0); h.indefinite() || n < h.value; n++ {
		if h.indefinite() && p.s.ended() {
			return
		}
		member(p.text())
	}
}

// text returns a text, and "" for anything else.
func (p *linkParser) text() string {
	if p.peek().major != majorText {
		p.skip()
		return ""
	}
	h, _ := p.s.head()
	if !h.indefinite() {
		p.s.at += int(h.value)
		return string(p.s.b[p.s.at-int(h.value) : p.s.at])
	}
	var joined []byte
	_ = p.s.text(h, &joined)
	return string(joined)
}

// texts returns an array of texts, or a text split at its spaces.
func (p *linkParser) texts() (list []string) {
	h := p.peek()
	if h.major == majorText {
		return strings.Fields(p.text())
	}
	if n := min(h.value, 8); h.major == majorArray && n > 0 {
		list = make([]string, 0, n)
	}
	p.each(func() {
		if t := p.text(); t != "" {
			list = append(list, t)
		}
	})
	return list
}

// device returns a di: text, or the 16 bytes of OIC 1.0.
func (p *linkParser) device() string {
	if h := p.peek(); h.major == majorBytes && h.value == 16 {
		_, _ = p.s.head()
		p.s.at += 16
		return uuidText(p.s.b[p.s.at-16 : p.s.at])
	}
	return p.text()
}

// number returns an integer, and 0 for anything else.
func (p *linkParser) number() int64 {
	h := p.peek()
	p.skip()
	switch {
	case h.value > math.MaxInt64:
		return 0
	case h.major == majorUint:
		return int64(h.value)
	case h.major == majorNegative:
		return -1 - int64(h.value)
	}
	return 0
}

// truth returns whether the item is true.
func (p *linkParser) truth() bool {
	h := p.peek()
	p.skip()
	return h.major == majorSimple && h.info == simpleTrue
}

// port returns a port number, and 0 for anything else.
func (p *linkParser) port() uint16 {
	if n := p.number(); n > 0 && n <= math.MaxUint16 {
		return uint16(n)
	}
	return 0
}

func (p *linkParser) policy() (policy Policy) {
	p.members(func(key string) {
		switch key {
		case "bm":
			policy.Mask = uint8(p.number() & math.MaxUint8)
		case "sec":
			p.ports.secure = p.truth()
		case "port":
			p.ports.dtls = p.port()
		case "x.org.iotivity.tcp":
			p.ports.tcp = p.port()
		case "x.org.iotivity.tls":
			p.ports.tls = p.port()
		default:
			p.skip()
		}
	})
	return policy
}

func (p *linkParser) endpoints() (list []Endpoint) {
	p.each(func() {
		var e Endpoint
		if p.peek().major == majorText {
			e.URI = p.text()
		} else {
			p.members(func(key string) {
				switch key {
				case "ep":
					e.URI = p.text()
				case "pri":
					e.Priority = int(p.number())
				default:
					p.skip()
				}
			})
		}
		if e.URI != "" {
			list = append(list, e)
		}
	})
	return list
}

// entry takes one link, or, where nested, what has links itself: a device, a
// publication or a collection. di is that of what it stands in.
func (p *linkParser) entry(di string, nested bool) {
	var link Link
	var name, gateway string
	var ttl int64
	links := -1 // where they are
	p.ports = ports{}
	p.members(func(key string) {
		switch key {
		case "n":
			name = p.text()
		case "ttl", "lt":
			ttl = max(0, p.number())
		case "x.farreach.gateway":
			gateway = p.text()
		case "links":
			if nested {
				links = p.s.at
			}
			p.skip()
		default:
			p.property(&link, key)
		}
	})
	if links < 0 {
		p.add(di, link)
		return
	}
	if link.Device != "" && p.links < maxLinks { // what names itself is a device, even without links
		p.links++
		set := p.set(link.Device)
		set.Name, set.Gateway, set.TTL = name, gateway, int(min(ttl, math.MaxInt32))
	}
	end := p.s.at
	p.s.at = links
	p.each(func() { p.entry(link.Device, false) })
	p.s.at = end
}

// property takes one member of a link.
func (p *linkParser) property(link *Link, key string) {
	switch key {
	case "href":
		link.Href = p.text()
	case "rt":
		link.Types = p.texts()
	case "if":
		link.Interfaces = p.texts()
	case "rel":
		link.Rel = p.texts()
	case "anchor":
		link.Anchor = p.text()
	case "di":
		link.Device = p.device()
	case "ins":
		link.Instance = p.number()
	case "p":
		link.Policy = p.policy()
	case "eps":
		link.Endpoints = p.endpoints()
	case "title":
		link.Title = p.text()
	default:
		p.skip()
	}
}

const ocfScheme = "ocf://"

// add puts a link into the set of its device: the one that it names itself,
// or else di.
func (p *linkParser) add(di string, link Link) {
	if rest, ok := strings.CutPrefix(link.Href, ocfScheme); ok {
		host, path, _ := strings.Cut(rest, "/")
		link.Href = "/" + path
		if link.Anchor == "" {
			link.Anchor = ocfScheme + host
		}
	}
	if !strings.HasPrefix(link.Href, "/") {
		return
	}
	if p.links++; p.links >= maxLinks {
		return
	}
	if link.Device != "" {
		di = link.Device
	} else if host, ok := strings.CutPrefix(link.Anchor, ocfScheme); ok {
		di, _, _ = strings.Cut(host, "/")
	}
	if p.from != nil {
		di = p.from.complete(&link, di, p.ports)
	}
	set := p.set(di)
	set.Links = append(set.Links, link)
}

// set returns the set of a device, which is made if it is not there.
func (p *linkParser) set(di string) *LinkSet {
	for i := len(p.sets) - 1; i >= 0; i-- { // the last is the likely one
		if p.sets[i].Device == di {
			return &p.sets[i]
		}
	}
	p.sets = append(p.sets, LinkSet{Device: di})
	return &p.sets[len(p.sets)-1]
}
