package reach

import (
	"errors"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/xmpp/jid"
)

// Target is what a person wants to reach: a resource of a device. Of URI, Peer
// and Device it has one, or Peer with the Device behind it.
type Target struct {
	URI    string  // of the CoAP server to be reached straight, without path
	Peer   jid.JID // full, of an endpoint to be reached over XMPP
	Device string  // name, di or the beginning of a di: any way will do; with Peer the di of one behind that
	Href   string  // path and query on the device, with a leading slash
}

// String is the target as a person would write it.
func (t Target) String() string {
	switch {
	case t.URI != "":
		return t.URI + t.Href
	case !t.Peer.IsZero():
		return xmppURI(t.Peer, t.Device, t.Href)
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
//	xmpp:ann@example.org/OIC%2F1.0%2Foic.d.light%2F<di>?oic;href=%2Fa%2Flight
//	                              an endpoint, over XMPP
//	xmpp:ann@example.org/OIC%2F1.0%2Foic.d.bridge%2F<di>?oic;href=ocf%3A%2F%2F<di>%2Fa%2Flight
//	                              a device behind one
//
// A slash or a percent sign in a name is percent-encoded. Without a path the
// target is DefaultHref; "/" alone is a path only where there is a server, which
// may have something there. The error is a *Error of kind Usage.
func ParseTarget(s string) (Target, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || strings.ContainsAny(scheme, "/?") { // what is behind a path or query is part of it
		if len(s) >= len(schemeXMPP) && strings.EqualFold(s[:len(schemeXMPP)], schemeXMPP) {
			return xmppTarget(s)
		}
		return deviceTarget(s)
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "xmpp":
		return Target{}, usagef("xmpp:ann@example.org/… ; the account to log in with is in the profile", "%.80q names an account to log in with", s)
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

// What an xmpp: URI begins with, and what kind of query leads to a resource (RFC
// 5122, section 2.2; A-22).
const (
	schemeXMPP = "xmpp:"
	schemeOCF  = "ocf://"
	queryOIC   = "oic"
)

// xmppTarget reads "xmpp:" bare "/" resource [ "?oic" *( ";" key "=" value ) ].
// Slashes in the resource are percent-encoded, but need not be.
func xmppTarget(s string) (Target, error) {
	const try = "write it like xmpp:ann@example.org/OIC%2F1.0%2Foic.d.light%2F<di>?oic;href=%2Fa%2Flight"
	path, query, asks := strings.Cut(s[len(schemeXMPP):], "?")
	if strings.Contains(s, "#") {
		return Target{}, usagef(try, "%.80q has a fragment", s)
	}
	bare, resource, _ := strings.Cut(path, "/")
	account, err := unescapedJID(bare)
	if err == nil && !account.IsBare() {
		err = errBareJID
	}
	if err != nil {
		return Target{}, usagef(try, "%.80q: %v", s, err)
	}
	if resource, err = url.PathUnescape(resource); err != nil {
		return Target{}, usagef(try, "%.80q: %v", s, err)
	}
	if resource == "" {
		return Target{}, usagef(try, "%.80q names an account and no device of it", s)
	}
	t := Target{Href: DefaultHref}
	if t.Peer, err = account.WithResource(resource); err != nil {
		return Target{}, usagef(try, "%.80q: %v", s, err)
	}
	if asks {
		t.Device, t.Href, err = hrefIn(query)
	}
	if err != nil {
		return Target{}, usagef(try, "%.80q: %v", s, err)
	}
	return t, nil
}

var (
	errBareJID = errors.New("what stands before the first slash is no account")
	errQuery   = errors.New("the query is not of the form oic;href=, with a path or an ocf:// URI with a device id")
)

func unescapedJID(s string) (jid.JID, error) {
	s, err := url.PathUnescape(s)
	if err != nil {
		return jid.JID{}, err
	}
	return jid.Parse(s)
}

// hrefIn is the href in the query of an xmpp: URI, and the device that it is of
// if that is another one than the endpoint. Keys that nobody knows are passed
// over (RFC 5122, section 2.2).
func hrefIn(query string) (device, href string, err error) {
	kind, pairs, _ := strings.Cut(query, ";")
	if kind != queryOIC {
		return "", "", errQuery
	}
	for pair := range strings.SplitSeq(pairs, ";") {
		if key, value, _ := strings.Cut(pair, "="); key == "href" {
			if href, err = url.PathUnescape(value); err != nil {
				return "", "", err
			}
			if rest, ok := strings.CutPrefix(href, schemeOCF); ok {
				device, href, _ = strings.Cut(rest, "/")
				if href = "/" + href; len(device) != 36 || uuid.Validate(device) != nil {
					return "", "", errQuery
				}
			}
			if href != "" && !strings.HasPrefix(href, "/") {
				return "", "", errQuery
			}
			href, err = checkHref(href)
			return strings.ToLower(device), href, err
		}
	}
	return "", DefaultHref, nil
}

// xmppURI is the URI of a resource at peer, or of the device behind it.
func xmppURI(peer jid.JID, device, href string) string {
	uri := schemeXMPP + url.PathEscape(peer.Domain())
	if local := peer.Local(); local != "" {
		uri = schemeXMPP + url.PathEscape(local) + "@" + url.PathEscape(peer.Domain())
	}
	if resource := peer.Resource(); resource != "" {
		uri += "/" + url.PathEscape(resource)
	}
	if href == DefaultHref {
		href = ""
	}
	if device != "" {
		href = schemeOCF + device + href
	}
	if href != "" {
		uri += "?" + queryOIC + ";href=" + url.PathEscape(href)
	}
	return uri
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
