package store

import (
	"context"
	"slices"
)

// Read calls each for the records below prefix that are there now, oldest
// first, until it returns false. Their keys are shared: not to be changed.
//
// There are two ways to find them, and which is the shorter depends on how many
// of all there are:
//
//	few  ── the server looks for them: 5 to 40 µs and more for each, the more keys they have
//	many ── the server sends all, 4 µs for each, and those below prefix are taken from it
func (l *Log) Read(ctx context.Context, from Start, prefix []string, each func(Record) bool) error {
	r := reader{s: l.s, stream: l.id, seq: from.Seq, since: from.Time}
	if len(prefix) == 0 {
		return l.scan(ctx, r, nil, each)
	}
	var err error
	if r.filter, err = l.filter(prefix); err != nil {
		return err
	}
	p, pending, err := r.openNow(ctx)
	if err != nil {
		return err
	}
	all, err := l.many(ctx, from, prefix, pending)
	if !all || err != nil {
		defer p.close(ctx)
		if err != nil {
			return err
		}
		return r.read(ctx, p, pending, l.only(each))
	}
	p.close(ctx)
	return l.scan(ctx, reader{seq: from.Seq}, nil, func(rec Record) bool { return !below(prefix, rec.Key) || each(rec) })
}

const (
	fewRecords = 1024 // are found faster than it is known how many there are of all
	fewOfOne   = 2    // of so many records one is below the prefix: then they are many, if all tokens but the last are given
	fewOfSome  = 16   // if there may be many keys: each costs the server, for each record
)

// many reports whether the records below prefix, which are so many, are better
// taken from all.
func (l *Log) many(ctx context.Context, from Start, prefix []string, pending uint64) (bool, error) {
	if pending < fewRecords || !from.Time.IsZero() {
		return false, nil
	}
	first, last, err := l.bounds(ctx)
	if err != nil {
		return false, err
	}
	few := uint64(fewOfSome)
	if i := slices.Index(prefix, Any); i < 0 && len(prefix) >= l.tokens-1 {
		few = fewOfOne
	}
	return last-max(first, from.Seq, 1)+1 <= few*pending, nil
}

// below reports whether a key begins with prefix.
func below(prefix, key []string) bool {
	if len(key) < len(prefix) {
		return false
	}
	for i, t := range prefix {
		if t != Any && t != key[i] {
			return false
		}
	}
	return true
}

// keys are those of the subjects that were met: in a log they come again and
// again.
type keys map[string][]string

// maxKeys is how many are known; beyond, they are forgotten.
const maxKeys = 1 << 14

func (k keys) add(subject string, key []string) {
	if len(k) >= maxKeys {
		clear(k)
	}
	k[subject] = key
}
