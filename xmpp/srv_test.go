package xmpp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
)

// zone answers SRV questions. A service that is not there does not exist.
type zone map[string][]*net.SRV

var errServFail = &net.DNSError{Err: "server misbehaving", IsTemporary: true}

func (z zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if proto != "tcp" || name != "home.example" {
		return "", nil, fmt.Errorf("asked for %s of %s", proto, name)
	}
	records, ok := z[service]
	switch {
	case !ok:
		return "", nil, &net.DNSError{IsNotFound: true}
	case records == nil:
		return "", nil, errServFail
	}
	return "", records, nil
}

func rec(target string, port, priority, weight uint16) *net.SRV {
	return &net.SRV{Target: target, Port: port, Priority: priority, Weight: weight}
}

// TestTargets: RFC 6120, section 3.2, and XEP-0368: both services as one set.
func TestTargets(t *testing.T) {
	for _, c := range []struct {
		name string
		zone zone
		want string
	}{
		{"none", zone{}, "[{home.example:5222 false}]"},
		{"DNS in trouble", zone{"xmpp-client": nil, "xmpps-client": nil}, "[{home.example:5222 false}]"},
		{"plain", zone{"xmpp-client": {rec("a.", 1, 0, 0)}}, "[{a:1 false}]"},
		{"direct", zone{"xmpps-client": {rec("a.", 443, 0, 0)}}, "[{a:443 true}]"},
		{"one set", zone{
			"xmpp-client":  {rec("p5.", 1, 5, 0), rec("p15.", 1, 15, 0)},
			"xmpps-client": {rec("d10.", 2, 10, 0), rec("d1.", 2, 1, 0)},
		}, "[{d1:2 true} {p5:1 false} {d10:2 true} {p15:1 false}]"},
		{"no direct TLS", zone{"xmpps-client": {rec(".", 0, 0, 0)}, "xmpp-client": {rec("a.", 1, 0, 0)}}, "[{a:1 false}]"},
		{"direct TLS only", zone{"xmpp-client": {rec(".", 0, 0, 0)}, "xmpps-client": {rec("a.", 1, 0, 0)}}, "[{a:1 true}]"},
		{"one in trouble", zone{"xmpps-client": nil, "xmpp-client": {rec("a.", 1, 0, 0)}}, "[{a:1 false}]"},
		{"IPv6", zone{"xmpp-client": {rec("2001:db8::1", 1, 0, 0)}}, "[{[2001:db8::1]:1 false}]"},
	} {
		got, err := targets(t.Context(), c.zone, "home.example")
		if s := fmt.Sprint(got); s != c.want || err != nil {
			t.Errorf("%s: %s, %v; want %s", c.name, s, err, c.want)
		}
	}
	if _, err := targets(t.Context(), zone{"xmpp-client": {rec(".", 0, 0, 0)}}, "home.example"); !errors.Is(err, errNoService) {
		t.Errorf("no service: %v", err)
	}
	var many []*net.SRV
	for i := range 100 {
		many = append(many, rec("a.", uint16(i), 0, 1))
	}
	if got, _ := targets(t.Context(), zone{"xmpp-client": many}, "home.example"); len(got) != maxTargets {
		t.Errorf("%d targets of 100 records", len(got))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := targets(ctx, zone{}, "home.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestWeights: within a priority the first is chosen by weight, and 0 has a
// small chance (RFC 2782).
func TestWeights(t *testing.T) {
	first := map[string]int{}
	const n = 4000
	for range n {
		list := order([]srv{{rec("a", 1, 0, 60), false}, {rec("b", 1, 0, 20), true}, {rec("c", 1, 0, 20), false}, {rec("z", 1, 0, 0), false}, {rec("later", 1, 1, 999), false}})
		first[list[0].addr]++
		if list[4].addr != "later:1" {
			t.Fatalf("order %v", list)
		}
		slices.SortFunc(list, func(a, b target) int { return int(a.addr[0]) - int(b.addr[0]) })
		if fmt.Sprint(list) != "[{a:1 false} {b:1 true} {c:1 false} {later:1 false} {z:1 false}]" {
			t.Fatalf("got %v", list)
		}
	}
	for addr, want := range map[string]float64{"a:1": 0.6, "b:1": 0.2, "c:1": 0.2, "z:1": 0.01} {
		if got := float64(first[addr]) / n; got < want*0.3 || got > want*1.9 {
			t.Errorf("%s comes first in %.3f, want about %.2f", addr, got, want)
		}
	}
}

// TestHost: what the DNS is asked and certificates are compared with.
func TestHost(t *testing.T) {
	for domain, want := range map[string]string{
		"home.example": "home.example", "müller.example": "xn--mller-kva.example", "192.0.2.1": "192.0.2.1", "[2001:db8::1]": "2001:db8::1",
	} {
		if got := host(domain); got != want {
			t.Errorf("host(%q) = %q, want %q", domain, got, want)
		}
	}
	for _, ip := range []string{"192.0.2.1", "2001:db8::1"} {
		if got, err := targets(t.Context(), nil, ip); err != nil || len(got) != 1 || got[0].addr != net.JoinHostPort(ip, "5222") {
			t.Errorf("%s: %v, %v", ip, got, err)
		}
	}
}
