package reach

import (
	"net/url"
	"strings"

	"github.com/farreach/farreach/coap"
)

// Target is what a person wants to reach: a resource of a device.
type Target struct {
	URI    string // of the CoAP server to be reached straight, without path; empty: any way to Device
	Device string // name, di or the beginning of a di; empty with a URI
	Href   string // path and query on the device, with a leading slash
}

// String is the target as a person would write it.
func (t Target) String() string {
	if t.URI != "" {
		return t.URI + t.Href
	}
	// A colon could be taken for the end of a scheme.
	return strings.ReplaceAll(url.PathEscape(t.Device), ":", "%3A") + t.Href
}

// DefaultHref is what a target without a path means: what there is.
const DefaultHref = "/oic/res"

// ParseTarget reads a target as people write it:
//
//	lamp/a/light                  a device by name
//	0685b960/a/light              by the beginning of its di
//	ocf://<di>/a/light            by its di; oic:// is the same
//	coap+tcp://host[:port]/path   a CoAP server, straight; coaps+tcp:// over TLS
//	coap+ws://host[:port]/path    over a WebSocket; coaps+ws:// over TLS
//	coap://host[:port]/path       by datagrams; coaps:// over DTLS
//
// A slash or a percent sign in a name is percent-encoded. Without a path the
// target is DefaultHref; "/" alone is a path only where there is a server, which
// may have something there. The error is a *Error of kind Usage.
func ParseTarget(s string) (Target, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || strings.ContainsAny(scheme, "/?") { // what is behind a path or query is part of it
		if strings.HasPrefix(strings.ToLower(s), "xmpp:") {
			return Target{}, usagef("ocf:// and the coap schemes work, and names of devices", "xmpp: is not supported yet by this build")
		}
		return deviceTarget(s)
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "ocf", "oic":
		return deviceTarget(rest)
	case "coap+tcp", "coaps+tcp", "coap+ws", "coaps+ws", "coap", "coaps":
		return straightTarget(s)
	}
	return Target{}, usagef("try lamp/a/light, ocf://<di>/a/light or coap+tcp://host/a/light",
		"%.80q: %s:// is not a way to a device", s, scheme)
}

func deviceTarget(s string) (Target, error) {
	end := strings.IndexAny(s, "/?")
	if end < 0 {
		end = len(s)
	}
	device, err := url.PathUnescape(s[:end])
	if err != nil {
		return Target{}, usagef("write a percent sign in a name as %25", "%.80q: %v", s, err)
	}
	if device == "" {
		return Target{}, usagef("name the device first: lamp/a/light", "%.80q names no device", s)
	}
	href, err := checkHref(s[end:])
	if err != nil {
		return Target{}, usagef("", "%.80q: %v", s, err)
	}
	return Target{Device: device, Href: href}, nil
}

func straightTarget(s string) (Target, error) {
	u, err := coap.ParseURI(s)
	if err != nil {
		return Target{}, usagef("write it like coap+tcp://host:5683/a/light", "%v", err)
	}
	href := u.Path
	if u.Query != "" {
		href += "?" + u.Query
	}
	if u.Path == "/" && !strings.Contains(afterScheme(s), "/") {
		href = strings.Replace(href, "/", DefaultHref, 1)
	}
	u.Path, u.Query = "", ""
	return Target{URI: u.String(), Href: href}, nil
}

func afterScheme(s string) string {
	_, rest, _ := strings.Cut(s, "://")
	return rest
}

// checkHref returns an href as CoAP can carry it.
func checkHref(s string) (string, error) {
	if s == "" || s == "/" {
		return DefaultHref, nil
	}
	if s[0] == '?' {
		s = DefaultHref + s
	}
	if _, err := coap.ParseURI("coap+tcp://device" + s); err != nil {
		return "", err
	}
	return s, nil
}
