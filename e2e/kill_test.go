package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// TestKill kills the server 20 times at random moments while devices report,
// join, leave and refresh their tokens and people make accounts and pairing
// codes. Nothing that was acknowledged is missing afterwards, and nothing that
// was spent or removed is back (rule 17 of the threats).
func TestKill(t *testing.T) {
	const rounds = 20
	begin := time.Now()
	k := &killing{child: newChild(t), ledger: newLedger()}
	k.start()
	var ready time.Duration
	for round := range rounds {
		k.serveAndDie(round)
		start := time.Now()
		k.start()
		ready = max(ready, time.Since(start))
		k.check(round)
	}
	k.finalCheck()
	k.log(t, rounds, ready, time.Since(begin))
}

// killing is a server that is killed, and what it has acknowledged.
type killing struct {
	*child
	ledger
	reporters []*member
	refresher *member
}

// member is a device that stays for the whole test.
type member struct {
	di    string
	grant cloudlink.Grant
}

// ledger is what was acknowledged. mu guards it all.
type ledger struct {
	mu       sync.Mutex
	last     atomic.Int64      // number of the newest event
	events   map[int64]string  // di by number
	accounts map[string]bool   // by name
	joined   map[string]member // devices that are to be there, by di
	left     map[string]bool   // devices that are not, by di
	spent    []secret.String   // pairing codes that were used
	open     []secret.String   // pairing codes that were not
	cut      []attempt         // sign-ups that were never answered
	total    map[string]int    // acknowledged, by kind
	repeated int               // cut sign-ups that went well the second time
}

// attempt is a sign-up whose answer did not come.
type attempt struct {
	di   string
	code secret.String
}

func newLedger() ledger {
	return ledger{
		events: map[int64]string{}, accounts: map[string]bool{}, joined: map[string]member{},
		left: map[string]bool{}, total: map[string]int{},
	}
}

// note writes down that something of this kind was acknowledged.
func (l *ledger) note(kind string, how func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	how()
	l.total[kind]++
}

// counters is what the devices of this test have.
var counters = []oic.Link{{Href: "/a/counter", Types: []string{"x.test.counter"}}}

// serveAndDie loads the server and kills it at a random moment.
func (k *killing) serveAndDie(round int) {
	ctx, cancel := context.WithCancel(k.t.Context())
	defer cancel()
	if round == 0 {
		for range 8 {
			k.reporters = append(k.reporters, k.newMember(ctx))
		}
		k.refresher = k.newMember(ctx)
	}
	var load sync.WaitGroup
	defer load.Wait()
	for _, m := range k.reporters {
		l := k.signedIn(ctx, m)
		for range 4 {
			load.Go(func() { k.report(ctx, l, m.di) })
		}
	}
	refreshing := k.signedIn(ctx, k.refresher)
	load.Go(func() { k.refresh(ctx, refreshing) })
	load.Go(func() { k.makeAccounts(ctx, round) })
	for range 2 {
		load.Go(func() { k.joinAndLeave(ctx) })
	}
	timer := time.NewTimer(20*time.Millisecond + rand.N(400*time.Millisecond))
	defer timer.Stop()
	<-timer.C
	k.kill()
	cancel()
}

func (k *killing) newMember(ctx context.Context) *member {
	m, _, err := k.join(ctx)
	if err != nil {
		k.t.Fatal(err)
	}
	return &m
}

// join makes a code and a device that joins with it and publishes. If the
// error is not nil, at is how far it got: the code, then the device.
func (k *killing) join(ctx context.Context) (m member, at attempt, err error) {
	if at.code, err = k.code(ctx); err != nil {
		return m, at, err
	}
	k.note("pairing codes", func() { k.open = append(k.open, at.code) })
	l, err := cloudlink.Connect(ctx, cloudlink.ServerInfo{URI: "coap+tcp://" + k.CoAP, Log: quiet})
	if err != nil {
		return m, at, err
	}
	defer l.Close()
	at.di = uuid.NewString()
	k.mu.Lock()
	k.open = slices.DeleteFunc(k.open, func(c secret.String) bool { return c == at.code }) // from now on it may be spent
	k.mu.Unlock()
	m, err = k.signUp(ctx, l, at)
	return m, at, err
}

func (k *killing) signUp(ctx context.Context, l *cloudlink.Link, at attempt) (m member, err error) {
	m.di = at.di
	if m.grant, err = l.SignUp(ctx, cloudlink.SignUp{Device: at.di, Code: at.code}); err != nil {
		return m, err
	}
	k.note("sign-ups", func() { k.spent, k.joined[m.di] = append(k.spent, at.code), m })
	if err := signIn(ctx, l, m.grant.Account, m.di, m.grant.Access); err != nil {
		return m, err
	}
	if _, err = l.Publish(ctx, cloudlink.Publication{Device: m.di, Name: "device of " + m.di[:8], Links: counters}); err == nil {
		k.note("publications", func() {})
	}
	return m, err
}

func (k *killing) signedIn(ctx context.Context, m *member) *cloudlink.Link {
	l := k.link()
	if err := signIn(ctx, l, m.grant.Account, m.di, m.grant.Access); err != nil {
		k.t.Fatalf("the grant of %s is lost: %v", m.di, err)
	}
	return l
}

// report tells events until the server is gone.
func (k *killing) report(ctx context.Context, l *cloudlink.Link, di string) {
	for {
		n := k.last.Add(1)
		body, err := oic.FromJSON(oic.OCF, fmt.Appendf(nil, `{"n":%d}`, n))
		if err != nil {
			k.t.Error(err)
			return
		}
		if err := l.Report(ctx, "/a/counter", &oic.Response{Format: oic.OCF, Body: body}); err != nil {
			return
		}
		k.note("events", func() { k.events[n] = di })
	}
}

func (k *killing) refresh(ctx context.Context, l *cloudlink.Link) {
	for {
		g, err := l.Refresh(ctx, cloudlink.Refresh{Account: "home", Device: k.refresher.di, Token: k.refresher.grant.Refresh})
		if err != nil {
			return
		}
		k.note("refreshes", func() { k.refresher.grant = g })
	}
}

func (k *killing) makeAccounts(ctx context.Context, round int) {
	for i := 0; ; i++ {
		name := fmt.Sprintf("person-%d-%d", round, i)
		err := k.call(ctx, http.MethodPost, "/accounts", map[string]any{"name": name, "password": "a long password"}, nil)
		if err != nil {
			return
		}
		k.note("accounts", func() { k.accounts[name] = true })
	}
}

// joinAndLeave lets devices join, every third of which signs off again.
func (k *killing) joinAndLeave(ctx context.Context) {
	for i := 0; ; i++ {
		m, at, err := k.join(ctx)
		if err != nil && m.grant.Account == "" && at.di != "" {
			k.mu.Lock()
			k.cut = append(k.cut, at)
			k.mu.Unlock()
		}
		if err == nil && i%3 == 2 {
			err = k.signOff(ctx, m)
		}
		if err != nil {
			return
		}
	}
}

func (k *killing) signOff(ctx context.Context, m member) error {
	l, err := cloudlink.Connect(ctx, cloudlink.ServerInfo{URI: "coap+tcp://" + k.CoAP, Log: quiet})
	if err != nil {
		return err
	}
	defer l.Close()
	if err := signIn(ctx, l, m.grant.Account, m.di, m.grant.Access); err != nil {
		return err
	}
	k.mu.Lock()
	delete(k.joined, m.di) // until the answer it may be there or not
	k.mu.Unlock()
	err = l.SignOff(ctx)
	if err == nil {
		k.note("sign-offs", func() { k.left[m.di] = true })
	}
	return err
}

// check compares the server that has just started with the ledger, apart from
// the events.
func (k *killing) check(round int) {
	k.t.Helper()
	ctx := k.t.Context()
	k.checkAccounts(ctx)
	k.checkDevices(ctx)
	k.checkCodes(ctx, round)
	// The answer to a refresh may have been lost: the tokens before it hold.
	l := k.signedIn(ctx, k.refresher)
	g, err := l.Refresh(ctx, cloudlink.Refresh{Account: "home", Device: k.refresher.di, Token: k.refresher.grant.Refresh})
	if err != nil {
		k.t.Fatalf("round %d: the refresh token that was given last is worth nothing: %v", round, err)
	}
	k.note("refreshes", func() { k.refresher.grant = g })
}

func (k *killing) checkAccounts(ctx context.Context) {
	k.t.Helper()
	var doc struct{ Accounts []struct{ Name string } }
	if err := k.call(ctx, http.MethodGet, "/accounts", nil, &doc); err != nil {
		k.t.Fatal(err)
	}
	missing := maps.Clone(k.accounts)
	for _, a := range doc.Accounts {
		delete(missing, a.Name)
	}
	if len(missing) > 0 {
		k.t.Errorf("%d of %d accounts are missing: %v", len(missing), len(k.accounts), missing)
	}
}

func (k *killing) checkDevices(ctx context.Context) {
	k.t.Helper()
	var doc struct {
		Devices []struct {
			DI, Name string
			Links    []struct{ Href string }
		}
	}
	if err := k.call(ctx, http.MethodGet, "/devices", nil, &doc); err != nil {
		k.t.Fatal(err)
	}
	missing := maps.Clone(k.joined)
	for _, d := range doc.Devices {
		if delete(missing, d.DI); k.left[d.DI] {
			k.t.Errorf("device %s is back", d.DI)
		}
		if strings.HasPrefix(d.Name, "device of ") && len(d.Links) == 0 {
			k.t.Errorf("device %s has lost its links", d.DI)
		}
	}
	if len(missing) > 0 {
		k.t.Errorf("%d of %d devices are missing", len(missing), len(k.joined))
	}
}

// checkCodes tries some of the newest codes: each wrong one makes the next
// wait, so not all.
func (k *killing) checkCodes(ctx context.Context, round int) {
	k.t.Helper()
	l := k.link()
	for _, at := range k.cut {
		if _, err := k.signUp(ctx, l, at); err != nil {
			k.t.Errorf("round %d: a sign-up whose answer was lost cannot be repeated: %v", round, err)
		}
		k.repeated++
		l = k.link() // signed in now
	}
	k.cut = nil
	if n := len(k.open); n > 0 {
		at := attempt{uuid.NewString(), k.open[n-1]}
		if _, err := k.signUp(ctx, l, at); err != nil {
			k.t.Errorf("round %d: a pairing code is lost: %v", round, err)
		}
		k.open = k.open[:n-1]
		l = k.link()
	}
	for _, code := range k.spent[max(0, len(k.spent)-2):] {
		if err := signUp(ctx, l, uuid.NewString(), code); !refused(err, oic.Unauthorized) {
			k.t.Errorf("round %d: a pairing code that was used is good again: %v", round, err)
		}
	}
}

// finalCheck looks for all events of all rounds, and signs in as every device.
func (k *killing) finalCheck() {
	k.t.Helper()
	found, twice := map[int64]string{}, 0
	k.eachCount(func(di string, n int64) {
		if found[n] != "" {
			twice++
		}
		found[n] = di
	})
	missing := 0
	for n, di := range k.events {
		if found[n] != di {
			missing++
		}
	}
	if missing > 0 || twice > 0 {
		k.t.Errorf("%d of %d events are missing, %d are there twice", missing, len(k.events), twice)
	}
	k.t.Logf("%d events found", len(found))
	k.joined[k.refresher.di] = *k.refresher
	for _, m := range k.joined {
		k.signedIn(k.t.Context(), &m).Close()
	}
}

func (k *killing) log(t *testing.T, rounds int, ready, took time.Duration) {
	t.Logf("%d kills in %v; ready again after at most %v", rounds, took.Round(time.Millisecond), ready.Round(time.Millisecond))
	for _, kind := range slices.Sorted(maps.Keys(k.total)) {
		t.Logf("%6d %s acknowledged", k.total[kind], kind)
	}
	t.Logf("%6d sign-ups cut off, and repeated with the same code", k.repeated)
}

// refused reports whether err is the far end's refusal with this status.
func refused(err error, with oic.Status) bool {
	got, _ := oic.StatusOf(err)
	return err != nil && got == with
}
