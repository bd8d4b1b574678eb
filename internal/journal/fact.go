package journal

import "encoding/binary"

// A Fact is what a front knows of a client or an open file beyond the pool's events: an answer to a question that the
// kernel will not be asked again. What the numbers mean is for its kind to say.
type Fact struct {
	Kind    uint8
	A, B, C uint64
}

const factSize = 1 + 3*8

// AppendFact appends a fact as 25 bytes.
func AppendFact(b []byte, f Fact) []byte {
	b = append(b, f.Kind)
	b = binary.NativeEndian.AppendUint64(b, f.A)
	b = binary.NativeEndian.AppendUint64(b, f.B)
	return binary.NativeEndian.AppendUint64(b, f.C)
}

// ParseFact is the reverse of AppendFact. Data of another length are refused.
func ParseFact(b []byte) (Fact, error) {
	if len(b) != factSize {
		return Fact{}, refused("a fact of %d bytes, not %d", len(b), factSize)
	}
	return Fact{
		Kind: b[0],
		A:    binary.NativeEndian.Uint64(b[1:]),
		B:    binary.NativeEndian.Uint64(b[9:]),
		C:    binary.NativeEndian.Uint64(b[17:]),
	}, nil
}
