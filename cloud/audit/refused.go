package audit

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// Who guesses does so often. Refusals of the same somebody from the same place
// are counted, and become one entry when the time is over.
const (
	collectTime = 10 * time.Second
	maxRefusals = 1000 // different ones in that time; more count as one
	lastWords   = 2 * time.Second
)

// refusal is who claimed to be whom.
type refusal struct{ account, principal, from string }

type tries struct {
	first time.Time
	times int
}

// Refused takes note that somebody at peer claimed to be principal, who is or
// belongs to account, and did not prove it. Without an account nobody is called
// so, and principal is not kept. It does not block.
func (l *Log) Refused(account, principal string, peer netip.Addr) {
	if account == "" {
		principal = ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := refusal{account, principal, network(peer)}
	t := l.refused[r]
	if t == nil && len(l.refused) >= maxRefusals {
		r = refusal{}
		t = l.refused[r]
	}
	if t == nil {
		t = &tries{first: time.Now()}
		l.refused[r] = t
	}
	t.times++
}

// collect writes down what was counted, until ctx ends and once more then.
func (l *Log) collect(ctx context.Context) {
	tick := time.NewTicker(collectTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			l.write(last)
			return
		case <-tick.C:
			l.write(ctx)
		}
	}
}

// write makes entries of what was counted. What cannot be stored is lost.
func (l *Log) write(ctx context.Context) {
	l.mu.Lock()
	refused := l.refused
	l.refused = map[refusal]*tries{}
	l.mu.Unlock()
	for r, t := range refused {
		if err := l.add(ctx, tried, l.entry(r, t)); err != nil {
			l.log.Warn("refused sign-ins are not in the audit log", "n", len(refused), "err", err)
			return
		}
	}
}

func (l *Log) entry(r refusal, t *tries) Entry {
	e := Entry{
		Time: t.first, Account: r.account, By: By{Kind: "nobody"}, What: "sign-in.refused", On: r.principal, From: r.from, Times: t.times,
	}
	if r == (refusal{}) {
		e.Detail = fmt.Sprintf("from more than %d addresses", maxRefusals)
	}
	return e
}
