package xmpp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
)

// defaultPort is where a domain without SRV records serves (RFC 6120, section
// 14.7).
const defaultPort = 5222

// maxTargets is how many places of one domain are tried.
const maxTargets = 16

// target is a place where a domain may be served.
type target struct {
	addr   string // host:port, or the URI of a WebSocket
	direct bool   // TLS from the first byte (XEP-0368)
}

// Resolver looks up SRV records. A *net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// errNoService says that a domain's DNS says that it has no XMPP.
var errNoService = errors.New("its DNS says that it has no XMPP service")

// targets looks up where domain is served, in the order to try: the records of
// both services, mixed as RFC 2782 says (XEP-0368, section 3), or the domain
// itself without any (RFC 6120, section 3.2.2).
func targets(ctx context.Context, r Resolver, domain string) ([]target, error) {
	if net.ParseIP(domain) != nil {
		return []target{{addr: net.JoinHostPort(domain, strconv.Itoa(defaultPort))}}, nil
	}
	type answer struct {
		records []*net.SRV
		err     error
	}
	ask := func(service string) chan answer {
		c := make(chan answer, 1)
		go func() {
			_, records, err := r.LookupSRV(ctx, service, "tcp", domain)
			c <- answer{records, err}
		}()
		return c
	}
	direct, plain := ask("xmpps-client"), ask("xmpp-client")
	var all []srv
	denied := false
	for i, c := range []chan answer{direct, plain} {
		a := <-c
		if a.err != nil && !notFound(a.err) && len(a.records) == 0 {
			continue // the other, or the domain itself, may do
		}
		if len(a.records) == 1 && a.records[0].Target == "." {
			denied = denied || i == 1
			continue
		}
		for _, rec := range a.records {
			if rec.Target != "." {
				all = append(all, srv{rec, i == 0})
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch {
	case len(all) > 0:
		return order(all), nil
	case denied:
		return nil, fmt.Errorf("%s: %w", domain, errNoService)
	}
	return []target{{addr: net.JoinHostPort(domain, strconv.Itoa(defaultPort))}}, nil
}

type srv struct {
	*net.SRV
	direct bool
}

// order puts records in the order to try: by priority, and within one by
// chance, the more weight the sooner (RFC 2782, "Usage rules").
func order(all []srv) []target {
	slices.SortStableFunc(all, func(a, b srv) int {
		if a.Priority != b.Priority {
			return int(a.Priority) - int(b.Priority)
		}
		return int(min(a.Weight, 1)) - int(min(b.Weight, 1)) // weight 0 first: it has a small chance
	})
	var list []target
	for len(all) > 0 && len(list) < maxTargets {
		n := 1
		for n < len(all) && all[n].Priority == all[0].Priority {
			n++
		}
		i := pickWeighted(all[:n])
		chosen := all[i]
		list = append(list, target{
			addr:   net.JoinHostPort(strings.TrimSuffix(chosen.Target, "."), strconv.Itoa(int(chosen.Port))),
			direct: chosen.direct,
		})
		all = slices.Delete(all, i, i+1)
	}
	return list
}

func pickWeighted(group []srv) int {
	sum := 0
	for _, r := range group {
		sum += int(r.Weight)
	}
	at := rand.IntN(sum + 1)
	for i, r := range group {
		if at -= int(r.Weight); at <= 0 {
			return i
		}
	}
	return len(group) - 1
}

func notFound(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && e.IsNotFound
}
