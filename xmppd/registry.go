package xmppd

import (
	"slices"
	"sync"

	"github.com/farreach/farreach/xmpp/jid"
	"github.com/farreach/farreach/xmpp/stream"
)

// registry knows all sessions by their addresses, and who of them is available.
type registry struct {
	mu      sync.RWMutex // guards what follows, what user says, and some of session
	full    map[jid.JID]*session
	users   map[string]*user    // by local part
	resumed map[string]*session // by the id with which they can be
}

// user is an account with sessions, or with connections that are just ending.
type user struct {
	bare     jid.JID
	attr     []byte // bare as it stands in an attribute
	sessions []*session
	conns    int
}

func (r *registry) init() {
	r.full = map[jid.JID]*session{}
	r.users = map[string]*user{}
	r.resumed = map[string]*session{}
}

// find returns the session at a full address, nil if there is none.
func (r *registry) find(j jid.JID) *session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.full[j]
}

// add gives a session with its first connection its address, unless its user
// has as many as may be. It returns the session that had the address, which is
// to be ended.
//
// Connections that are still ending count for half: one that does not finish
// cannot be made good by log-ins without end.
func (r *registry) add(s *session, most int) (old *session, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := s.jid.Local()
	u := r.users[name]
	if u == nil {
		bare := s.jid.Bare()
		u = &user{bare: bare, attr: stream.AppendEscaped(nil, bare.String())}
	}
	old = r.full[s.jid]
	if old == nil && len(u.sessions) >= most || u.conns >= 2*most {
		return nil, false
	}
	if old != nil {
		r.drop(old)
	}
	r.users[name] = u
	s.user = u
	u.sessions = append(u.sessions, s)
	u.conns++
	r.full[s.jid] = s
	return old, true
}

// join counts one more connection of a user: that by which a session is
// resumed.
func (r *registry) join(u *user) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u.conns++
}

// part says that a connection of a user has ended.
func (r *registry) part(u *user) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u.conns--
	r.tidy(u)
}

// remove takes a session away, and reports whether that was not done before.
func (r *registry) remove(s *session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.ended {
		return false
	}
	s.ended = true
	r.drop(s)
	return true
}

// drop takes a session out of the indexes, if it is there. r.mu is held.
func (r *registry) drop(s *session) {
	if r.full[s.jid] == s {
		delete(r.full, s.jid)
	}
	if i := slices.Index(s.user.sessions, s); i >= 0 {
		s.user.sessions = slices.Delete(s.user.sessions, i, i+1)
	}
	delete(r.resumed, s.resumeID)
	r.tidy(s.user)
}

func (r *registry) tidy(u *user) {
	if len(u.sessions) == 0 && u.conns == 0 && r.users[u.bare.Local()] == u {
		delete(r.users, u.bare.Local())
	}
}

// available returns the available sessions of an account, at most those for
// which keep is true; nil keeps all.
func (r *registry) available(name string, keep func(*session) bool) (all []*session) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	u := r.users[name]
	if u == nil {
		return nil
	}
	for _, s := range u.sessions {
		if s.presence != nil && (keep == nil || keep(s)) {
			all = append(all, s)
		}
	}
	return all
}

// resumable gives a session the id with which it can be resumed.
func (r *registry) resumable(s *session, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !s.ended {
		s.resumeID = id
		r.resumed[id] = s
	}
}

// lost returns the session of an account that id resumes, nil if there is none.
func (r *registry) lost(name, id string) *session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if s := r.resumed[id]; s != nil && s.jid.Local() == name {
		return s
	}
	return nil
}

// endWithout ends the sessions of a listener that have no connection.
func (r *registry) endWithout(tasks *sync.WaitGroup, err error) {
	r.mu.RLock()
	var mine []*session
	for _, s := range r.full {
		if s.tasks == tasks {
			mine = append(mine, s)
		}
	}
	r.mu.RUnlock()
	for _, s := range mine {
		s.end(err)
	}
}
