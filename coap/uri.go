package coap

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// URI is the address of a resource, taken apart (RFC 7252, section 6; RFC 8323,
// section 8).
type URI struct {
	Transport Transport
	Secure    bool   // DTLS or TLS
	Host      string // a name in lower case, or an IP address without brackets
	Port      uint16 // the scheme's own if the URI names none, never 0
	Path      string // "/oic/res", "/" at least; percent-encodings are kept
	Query     string // what is behind the "?"; percent-encodings are kept
}

// Addr is host and port, as net.Dial takes them.
func (u *URI) Addr() string {
	host := u.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(u.Port))
}

// String is the URI put together again, without a default port.
func (u *URI) String() string {
	for _, s := range schemes {
		if s.transport != u.Transport || s.secure != u.Secure {
			continue
		}
		addr := u.Addr()
		if strings.Contains(u.Host, "%") {
			addr = strings.Replace(addr, "%", "%25", 1) // RFC 6874
		}
		if u.Port == s.port {
			addr = addr[:strings.LastIndexByte(addr, ':')]
		}
		text := s.name + "://" + addr + u.Path
		if u.Query != "" {
			text += "?" + u.Query
		}
		return text
	}
	return ""
}

// schemes are the URI schemes with their default ports.
var schemes = [...]struct {
	name      string
	transport Transport
	secure    bool
	port      uint16
}{
	{"coap", UDP, false, 5683},         // RFC 7252, section 6.1
	{"coaps", UDP, true, 5684},         // RFC 7252, section 6.2
	{"coap+tcp", TCP, false, 5683},     // RFC 8323, section 8.1
	{"coaps+tcp", TCP, true, 5684},     // RFC 8323, section 8.2
	{"coap+ws", WebSocket, false, 80},  // RFC 8323, section 8.3
	{"coaps+ws", WebSocket, true, 443}, // RFC 8323, section 8.4
}

// maxHost is the longest Uri-Host, in bytes (RFC 7252, section 5.10).
const maxHost = 255

// ParseURI takes apart an absolute URI of one of the six CoAP schemes. Host
// names are ASCII (an international one in its xn-- form); a zone of an IPv6
// address may be led by "%" or "%25".
//
// The error names the part that is wrong, and never repeats the whole URI: it
// may hold a secret. Path and query are bounded by MaxURI and MaxURISegments.
func ParseURI(s string) (URI, error) {
	name, rest, ok := strings.Cut(s, "://")
	if !ok {
		return URI{}, errors.New(`coap: a URI begins with a scheme and "://", like coap+tcp://host/path`)
	}
	u, ok := byScheme(name)
	if !ok {
		return URI{}, fmt.Errorf("coap: URI scheme %.20q is none of coap, coaps, coap+tcp, coaps+tcp, coap+ws, coaps+ws", name)
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	var err error
	if u.Host, u.Port, err = parseAuthority(rest[:end], u.Port); err != nil {
		return URI{}, err
	}
	if u.Path, u.Query, err = parsePathQuery(rest[end:]); err != nil {
		return URI{}, err
	}
	return u, nil
}

func byScheme(name string) (URI, bool) {
	for _, s := range schemes {
		if strings.EqualFold(name, s.name) {
			return URI{Transport: s.transport, Secure: s.secure, Port: s.port}, true
		}
	}
	return URI{}, false
}

// parseAuthority reads host and port, what is between "//" and the path.
func parseAuthority(s string, defaultPort uint16) (host string, port uint16, err error) {
	if strings.Contains(s, "@") {
		return "", 0, errors.New("coap: URI with user information, which CoAP does not have")
	}
	host, portText := s, ""
	if literal, ok := strings.CutPrefix(s, "["); ok {
		var rest string
		if host, rest, ok = strings.Cut(literal, "]"); !ok {
			return "", 0, errors.New(`coap: URI host: "[" without "]"`)
		}
		if rest != "" && rest[0] != ':' {
			return "", 0, fmt.Errorf("coap: URI host: %.20q behind the IPv6 address", rest)
		}
		portText = strings.TrimPrefix(rest, ":")
		host, err = parseIPv6(host)
	} else {
		if i := strings.IndexByte(s, ':'); i >= 0 {
			host, portText = s[:i], s[i+1:]
		}
		host, err = parseName(host)
	}
	if err != nil {
		return "", 0, err
	}
	if portText == "" { // as good as absent (RFC 7252, section 6.1)
		return host, defaultPort, nil
	}
	n, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("coap: URI port %.20q is not a number from 1 to 65535", portText)
	}
	return host, uint16(n), nil
}

func parseIPv6(s string) (string, error) {
	address, zone, zoned := strings.Cut(s, "%")
	zone = strings.TrimPrefix(zone, "25") // RFC 6874
	if a, err := netip.ParseAddr(address); err != nil || !a.Is6() {
		return "", fmt.Errorf("coap: URI host [%.60s] is not an IPv6 address", s)
	}
	if !zoned {
		return strings.ToLower(address), nil
	}
	if zone == "" || len(zone) > 64 || strings.ContainsFunc(zone, func(r rune) bool { return r > 0x7f || !unreserved.has(byte(r)) }) {
		return "", fmt.Errorf("coap: URI host: %.60q is not the zone of an IPv6 address", zone)
	}
	return strings.ToLower(address) + "%" + zone, nil
}

func parseName(s string) (string, error) {
	switch {
	case s == "":
		return "", errors.New("coap: URI without a host")
	case len(s) > maxHost:
		return "", fmt.Errorf("coap: URI host of %d bytes, at most %d are allowed", len(s), maxHost)
	}
	for i := range len(s) {
		if !unreserved.has(s[i]) {
			return "", fmt.Errorf("coap: URI host: character %q is not allowed", s[i:i+1])
		}
	}
	return strings.ToLower(s), nil
}

// parsePathQuery reads what is behind host and port.
func parsePathQuery(s string) (path, query string, err error) {
	if strings.Contains(s, "#") {
		return "", "", errors.New("coap: URI with a fragment, which CoAP does not have")
	}
	path, query, _ = strings.Cut(s, "?")
	if path == "" {
		path = "/"
	}
	for _, part := range []string{path, query} { // a path has no "?" left to be refused
		if err := checkEscapes(part); err != nil {
			return "", "", err
		}
	}
	var m Message
	m.SetPath(path)
	m.SetQuery(query)
	var budget uriBudget
	for _, o := range m.Options {
		if err := budget.take(o.Number, o.Value); err != nil {
			return "", "", errors.New("coap: URI: " + err.Why)
		}
		if _, most, _ := form(o.Number); len(o.Value) > most {
			return "", "", fmt.Errorf("coap: URI: a path segment or a pair of the query has %d bytes, at most %d are allowed", len(o.Value), most)
		}
	}
	return path, query, nil
}

// checkEscapes finds what a path or query must not hold as it is.
func checkEscapes(s string) error {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if _, ok := unescape(s[i:]); !ok {
				return fmt.Errorf("coap: URI: %.3q is not a percent-encoding", s[i:])
			}
			i += 2
		case !inQuery.has(c):
			return fmt.Errorf("coap: URI: character %q must be written as %%%02X", s[i:i+1], c)
		}
	}
	return nil
}
