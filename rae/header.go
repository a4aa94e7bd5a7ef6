package rae

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/farreach/farreach/oic"
)

// version1 is the OCF-Version that is sent. Without the header, a document is of
// OIC 1.x.
const version1 = "1.0.0"

// native is the kind of CBOR that a body in JSON stands for.
func (d *Document) native() oic.ContentFormat {
	v := d.value(hVersion)
	if len(v) == 0 {
		return oic.CBOR
	}
	major, _, _ := strings.Cut(string(v), ".")
	if n, err := strconv.ParseUint(major, 10, 8); err == nil && n >= 1 {
		return oic.OCF
	}
	return oic.CBOR
}

func (d *Document) addMeta(m *Meta) {
	d.addTags(hETag, m.ETags)
	if m.Token != "" {
		d.add(hToken, m.Token)
	}
	if m.MaxMessage > 0 {
		d.add(hMaxMessage, strconv.Itoa(m.MaxMessage))
	}
}

func (d *Document) meta() Meta {
	m := Meta{Token: d.Token(), ETags: d.tags(hETag)}
	if v, ok := d.Header(hMaxMessage); ok {
		m.MaxMessage, _ = number(v, 1<<30)
	}
	return m
}

// maxTag is the longest entity tag (RFC 7252, section 5.10.6.1), octets.
const maxTag = 8

// addTags writes entity tags: in hexadecimal, in quotes, parted by commas.
func (d *Document) addTags(name string, tags []string) {
	var quoted []string
	for _, tag := range tags {
		switch {
		case len(tag) > maxTag:
		case tag == "" && name == hIfMatch:
			quoted = append(quoted, "*")
		case tag != "":
			quoted = append(quoted, `"`+hex.EncodeToString([]byte(tag))+`"`)
		}
	}
	if len(quoted) > 0 {
		d.add(name, strings.Join(quoted, ", "))
	}
}

// tags reads them. One that is none of ours cannot match, and is left out.
func (d *Document) tags(name string) (tags []string) {
	v, ok := d.Header(name)
	if !ok {
		return nil
	}
	for s := range strings.SplitSeq(v, ",") {
		s = strings.TrimSpace(s)
		if s == "*" && name == hIfMatch {
			tags = append(tags, "")
			continue
		}
		if n := len(s); n < 4 || s[0] != '"' || s[n-1] != '"' {
			continue
		}
		if tag, err := hex.DecodeString(s[1 : len(s)-1]); err == nil && len(tag) <= maxTag {
			tags = append(tags, string(tag))
		}
	}
	return tags
}

// maxAge is max-age of Cache-Control. What it has no room for is too long to
// matter.
func (d *Document) maxAge() (age time.Duration, ok bool) {
	v, ok := d.Header(hCacheControl)
	if !ok {
		return 0, false
	}
	for s := range strings.SplitSeq(v, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(s), "=")
		if n, isNumber := number(value, 1<<32-1); isNumber && strings.EqualFold(name, "max-age") {
			return time.Duration(n) * time.Second, true
		}
	}
	return 0, false
}

func (d *Document) addMaxAge(age time.Duration) {
	seconds := max(0, (age+time.Second-1)/time.Second)
	d.add(hCacheControl, "max-age="+strconv.FormatInt(int64(min(seconds, 1<<32-1)), 10))
}

// number reads digits.
func number(s string, limit int) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 62)
	if err != nil || s[0] == '+' || n > uint64(limit) {
		return 0, false
	}
	return int(n), true
}
