package oic

import "slices"

// Link describes one resource of a device, as in /oic/res and /oic/rd.
type Link struct {
	Href       string     `json:"href"`
	Types      []string   `json:"rt"`
	Interfaces []string   `json:"if"`
	Rel        []string   `json:"rel,omitempty"`
	Anchor     string     `json:"anchor,omitempty"` // "ocf://<di>"
	Device     string     `json:"di,omitempty"`
	Instance   int64      `json:"ins,omitempty"` // given by the directory that it is published to
	Policy     Policy     `json:"p"`
	Endpoints  []Endpoint `json:"eps,omitempty"`
	Title      string     `json:"title,omitempty"`
}

// Policy says what may be done with a link.
type Policy struct {
	Mask uint8 `json:"bm"` // Discoverable | Observable
}

// The bits of Policy.Mask.
const (
	Discoverable = 1 << 0
	Observable   = 1 << 1
)

// Endpoint is one address at which a resource answers.
type Endpoint struct {
	URI      string `json:"ep"` // "coaps+tcp://192.0.2.7:5684"
	Priority int    `json:"pri,omitempty"`
}

// The interfaces of OCF core.
const (
	IfBaseline = "oic.if.baseline"
	IfLinkList = "oic.if.ll"
	IfBatch    = "oic.if.b"
	IfRead     = "oic.if.r"
	IfWrite    = "oic.if.rw"
	IfActuator = "oic.if.a"
	IfSensor   = "oic.if.s"
	IfCreate   = "oic.if.create"
)

// Observable reports whether changes of the resource can be watched.
func (l *Link) Observable() bool { return l.Policy.Mask&Observable != 0 }

// Matches reports whether one of the resource types rt is l's. No rt matches
// every link. The comparison is exact and respects case.
func (l *Link) Matches(rt []string) bool {
	return len(rt) == 0 || slices.ContainsFunc(rt, func(t string) bool { return slices.Contains(l.Types, t) })
}
