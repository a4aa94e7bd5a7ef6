package cloudlink

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
)

// Registration is what a device tells a cloud about itself.
type Registration struct {
	Device  string     // di: a UUID
	Name    string     // for people
	App     string     // the application that registers the device; may be empty
	Gateway string     // di of the device that speaks for it; may be empty
	Links   []oic.Link // what to publish

	Code     secret.String // pairing code to sign up with, if State has no grant that works
	Provider string        // who gave the code; may be empty
	Redeemed func()        // called when Code has given a State, which is saved; nil: nobody is told

	State State // of an earlier registration; zero: none
	// Follow says whether a server may send the device to that URI, and which
	// one is to be used; nil: to none. If it may, Register returns an error that
	// names it after the State has been saved: the registration goes on there.
	Follow func(uri string) (string, bool)

	Save func(State) error // keeps each new State before it is relied upon; nil: not kept
}

// Register signs the device up if it never was, signs it in, and publishes
// what changed since the last time. It returns the new State, and until when
// the device is signed in; the zero time is for ever.
func (l *Link) Register(ctx context.Context, r Registration) (State, time.Time, error) {
	if r.State.Device != r.Device {
		r.State = State{}
	}
	until, err := l.enter(ctx, &r)
	if err == nil {
		err = l.publishChanges(ctx, &r)
	}
	return r.State, until, err
}

// enter signs in, with what it takes: a refresh of the tokens, or a sign-up.
func (l *Link) enter(ctx context.Context, r *Registration) (until time.Time, err error) {
	if r.State.Grant.Account != "" {
		if until, err = l.signInOrRenew(ctx, r); err == nil {
			return until, nil
		}
		if !forgotten(err) || r.Code == "" {
			return until, err
		}
		l.info.Log.Warn("the cloud does not know this device any more: pairing again", "device", r.Device, "err", err)
	}
	if r.Code == "" {
		return until, oic.Errorf(oic.Unauthorized, "not paired: a pairing code is needed")
	}
	g, err := l.SignUp(ctx, SignUp{Device: r.Device, Provider: r.Provider, Code: r.Code, DeviceType: "device", App: r.App})
	if err != nil && l.info.Dialect == Auto {
		err = mayBeClassic(err, l.conn.Peer())
	}
	if err != nil {
		return until, err
	}
	if err := r.keep(State{Server: l.info.URI, Device: r.Device, Dialect: l.info.Dialect, Grant: g}); err != nil {
		return until, err
	}
	if r.Redeemed != nil {
		r.Redeemed()
	}
	if g.Redirect != "" && g.Redirect != l.info.URI { // rule 28
		if r.Follow != nil {
			if to, ok := r.Follow(g.Redirect); ok {
				return until, &redirectError{to}
			}
		}
		l.info.Log.Warn("staying, though redirected", "to", g.Redirect)
	}
	return l.signInWith(ctx, r)
}

// signInOrRenew signs in, and if the access token has expired or is refused with
// new tokens (rule 14). That the token was refused is kept: some clouds close the
// connection then (rule 29), so that it takes the next one to renew it.
func (l *Link) signInOrRenew(ctx context.Context, r *Registration) (time.Time, error) {
	if end := r.State.Grant.Expires; end.IsZero() || time.Now().Before(end) {
		until, err := l.signInWith(ctx, r)
		if statusOf(err) != oic.Unauthorized {
			return until, err
		}
		st := r.State
		st.Grant.Expires = time.Now()
		if err := r.keep(st); err != nil {
			return until, err
		}
	}
	return l.renew(ctx, r)
}

// forgotten reports whether a cloud says that it does not know the device's
// tokens; in 4.04 does the classic one.
func forgotten(err error) bool {
	s := statusOf(err)
	return s == oic.Unauthorized || s == oic.NotFound
}

var (
	errRefresh = errors.New("tokens not renewed")
	errAnswer  = errors.New("the answer makes no sense")
)

// renew refreshes the tokens and signs in with the new ones.
func (l *Link) renew(ctx context.Context, r *Registration) (time.Time, error) {
	old := r.State.Grant
	g, err := l.Refresh(ctx, Refresh{Account: old.Account, Device: r.Device, Token: old.Refresh})
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", errRefresh, err)
	}
	st := r.State
	st.Grant = g
	if err := r.keep(st); err != nil {
		return time.Time{}, err
	}
	return l.signInWith(ctx, r)
}

func (l *Link) signInWith(ctx context.Context, r *Registration) (time.Time, error) {
	return l.SignIn(ctx, Login{Account: r.State.Grant.Account, Device: r.Device, Access: r.State.Grant.Access})
}

// keep makes st the State, once it is saved.
func (r *Registration) keep(st State) error {
	if r.Save != nil {
		if err := r.Save(st); err != nil {
			return fmt.Errorf("save the registration: %w", err)
		}
	}
	r.State = st
	return nil
}

// publishChanges makes the directory equal to r.Links, r.Name and r.Gateway.
func (l *Link) publishChanges(ctx context.Context, r *Registration) error {
	st := r.State
	st.Published = maps.Clone(st.Published)
	if st.Published == nil {
		st.Published = map[string]Published{}
	}
	changed, gone := difference(st.Published, r.Links)
	if (r.Name != st.Name && r.Name != "" || r.Gateway != st.Gateway) && len(changed) == 0 {
		changed = bearer(r.Links)
	}
	if len(changed) == 0 && len(gone) == 0 {
		return nil
	}
	var ins []int64
	for _, href := range gone {
		ins = append(ins, st.Published[href].Instance)
		delete(st.Published, href)
	}
	if err := l.Unpublish(ctx, r.Device, ins); err != nil && !isAbsent(err) { // as after an answer that was lost
		return err
	}
	if len(changed) > 0 {
		p, err := l.Publish(ctx, Publication{Device: r.Device, Name: r.Name, Gateway: r.Gateway, Links: numbered(changed, st.Published)})
		if err != nil {
			return err
		}
		st.Name, st.Gateway = r.Name, r.Gateway
		for _, a := range p.Links {
			for _, c := range changed {
				if c.Href == a.Href {
					st.Published[c.Href] = Published{Instance: a.Instance, Sum: sum(c)}
				}
			}
		}
	}
	return r.keep(st)
}

// bearer is the link with which the name and the gateway of a device are published
// when nothing else is: that of what tells it, if there is one.
func bearer(links []oic.Link) []oic.Link {
	i := slices.IndexFunc(links, func(l oic.Link) bool { return l.Href == "/oic/d" })
	if i = max(i, 0); i < len(links) {
		return links[i : i+1]
	}
	return nil
}

// numbered is links with the instance numbers that the directory gave them.
func numbered(links []oic.Link, published map[string]Published) []oic.Link {
	links = slices.Clone(links)
	for i := range links {
		links[i].Instance = published[links[i].Href].Instance
	}
	return links
}

// difference tells what of links is not in the directory as it is, and which
// hrefs in the directory are not in links any more.
func difference(published map[string]Published, links []oic.Link) (changed []oic.Link, gone []string) {
	here := map[string]bool{}
	for _, link := range links {
		here[link.Href] = true
		if published[link.Href].Sum != sum(link) {
			changed = append(changed, link)
		}
	}
	for href := range published {
		if !here[href] {
			gone = append(gone, href)
		}
	}
	return changed, gone
}

// sum tells two versions of a link apart.
func sum(l oic.Link) string {
	b, err := json.Marshal(l)
	if err != nil {
		return "" // never equal: published each time
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))[:16]
}

// statusOf is the status of a refusal; 0 for any other error and for nil.
func statusOf(err error) oic.Status {
	if refusal, ok := errors.AsType[*oic.StatusError](err); ok {
		return refusal.Status
	}
	return 0
}

// final reports whether trying again would not help: the cloud refused.
func final(err error) bool {
	s := statusOf(err)
	return s.Class() == 4 && s != oic.TooMany
}
