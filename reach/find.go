package reach

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// known is a device that some way leads to.
type known struct {
	ID, Name string
	InCloud  bool
}

// together is one list of both: a device that is in both is there once.
func together(cloud, xmpp []known) []known {
	all := slices.Clone(cloud)
	for _, k := range xmpp {
		if !slices.ContainsFunc(all, func(have known) bool { return strings.EqualFold(have.ID, k.ID) }) {
			all = append(all, k)
		}
	}
	return all
}

// find returns the one device in all that name means: by its di, by
// its name, by its name in other case, or by the beginning of its di. The first
// of these that fits anything decides.
func find(all []known, name string) (known, error) {
	for _, fits := range []func(d known) bool{
		func(d known) bool { return strings.EqualFold(d.ID, name) },
		func(d known) bool { return d.Name == name },
		func(d known) bool { return strings.EqualFold(d.Name, name) },
		func(d known) bool { return hasPrefixFold(d.ID, name) },
	} {
		var found []known
		for _, d := range all {
			if fits(d) {
				found = append(found, d)
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return known{}, &Error{Kind: Ambiguous, Err: fmt.Errorf("%q means %d devices", name, len(found)),
				Hint: "say which: " + list(found)}
		}
	}
	return known{}, notFound(name, didYouMean(all, name))
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// list names a few devices, by name and di.
func list(devices []known) string {
	const few = 4
	var b strings.Builder
	for i, d := range devices {
		if i == few {
			fmt.Fprintf(&b, " and %d more", len(devices)-few)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(d.ID)
		if d.Name != "" {
			fmt.Fprintf(&b, " (%s)", d.Name)
		}
	}
	return b.String()
}

// didYouMean is the hint for a name that fits no device: the nearest name if
// it is a likely slip, else all of them.
func didYouMean(all []known, name string) string {
	if len(all) == 0 {
		return "this account has no devices yet: farreach pair gives a code with which one joins"
	}
	nearest := slices.MinFunc(all, func(a, b known) int {
		return cmp.Compare(distance(a.Name, name), distance(b.Name, name))
	})
	if nearest.Name != "" && distance(nearest.Name, name) <= max(1, len(name)/3) {
		return "did you mean " + nearest.Name + "?"
	}
	return "there are " + list(all)
}

// distance is how many insertions, deletions, replacements and swaps of
// neighbours lead from a to b, without regard to case.
func distance(a, b string) int {
	x, y := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	const far = 64
	if len(x) > far || len(y) > far {
		return far
	}
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			differs := 1
			if x[i-1] == y[j-1] {
				differs = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+differs)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(x)][len(y)]
}
