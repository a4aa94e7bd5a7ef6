package oic_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/farreach/farreach/oic"
)

// Threats row 42: memory follows the bytes that are there, at the limits too.
func TestMemoryAtTheLimits(t *testing.T) {
	var keys, members strings.Builder
	keys.WriteString("b9 3fff")
	members.WriteString("{")
	for i := range 16_383 {
		fmt.Fprintf(&keys, "64 %08x 01", 0x61616161+uint32(i%26)+uint32(i/26%26)<<8+uint32(i/676%26)<<16)
		fmt.Fprintf(&members, `"%d":1,`, i)
	}
	members.WriteString(`"x":1}`)
	_ = oic.Decode(oic.OCF, []byte{0xa0}, new(lamp))
	for name, body := range map[string][]byte{
		"keys":          unhex(t, keys.String()),
		"double keys":   unhex(t, "b9 3fff"+strings.Repeat("60f6", 16_383)),
		"chunked keys":  unhex(t, "bf"+strings.Repeat("7f 61 61 ff f6", 16_000)+"ff"),
		"empty arrays":  unhex(t, "99 3fff"+strings.Repeat("80", 16_383)),
		"empty maps":    unhex(t, "99 3fff"+strings.Repeat("a0", 16_383)),
		"small maps":    unhex(t, "99 1fff"+strings.Repeat("a1 60 00", 8_191)),
		"nulls":         unhex(t, "99 3fff"+strings.Repeat("f6", 16_383)),
		"halves":        unhex(t, "99 3fff"+strings.Repeat("f90001", 16_383)),
		"controls":      unhex(t, "7a 00010000"+strings.Repeat("01", 65_536)),
		"bytes":         unhex(t, "5a 00010000"+strings.Repeat("ff", 65_536)),
		"empty texts":   unhex(t, "a1 64 74616773 99 3ff0"+strings.Repeat("60", 16_368)),
		"tags":          unhex(t, strings.Repeat("c1", 256)+"01"),
		"declared":      unhex(t, "a1 64 74616773 9a 00003fff"),
		"JSON members":  []byte(members.String()),
		"JSON numbers":  []byte("[" + strings.Repeat("1,", 16_383) + "1]"),
		"JSON texts":    []byte("[" + strings.Repeat(`"",`, 16_383) + `""]`),
		"JSON brackets": []byte(strings.Repeat("[", 31) + strings.Repeat("[],", 16_000) + "[]" + strings.Repeat("]", 31)),
	} {
		limit := uint64(16*len(body) + 64<<10)
		for what, f := range map[string]func(){
			"Decode":   func() { _ = oic.Decode(oic.OCF, body, new(lamp)) },
			"ToJSON":   func() { _, _ = oic.ToJSON(oic.OCF, body) },
			"FromJSON": func() { _, _ = oic.FromJSON(oic.OCF, body) },
		} {
			if used := allocated(f); used > limit {
				t.Errorf("%s: %s of %d bytes takes %d, %.1f times as many", name, what, len(body), used, float64(used)/float64(len(body)))
			}
		}
	}
}
