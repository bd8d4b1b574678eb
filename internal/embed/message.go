package embed

import (
	"encoding/binary"
	"errors"
	"fmt"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// A kind says what a message means. Requests go to the server, answers come from it.
type kind uint32

const (
	// hello is the first request: this process holds n tokens, and shares the slot of an ancestor if ticket is not 0.
	// It is answered with welcome, or with refused and the end of the connection.
	hello kind = iota + 1
	// take, nest, relay and status are answered under their ticket.
	take
	nest
	relay
	status
	// giveBack gives back n tokens, leave the slot of an ancestor. They have no answer.
	giveBack
	leave
	// lost gives back n tokens that were granted but of which none was left in the lock file: the server has counted wrong.
	// It has no answer.
	lost
	// report asks for the rows of a report from n on, and needs no hello. It is answered with the page alone, see ctl.
	report

	// welcome: the pool has n tokens.
	welcome
	// refused: the server serves another user only.
	refused
	// taken: one token was taken.
	taken
	// nested: a token was taken if n is 1, else the slot of an ancestor is shared.
	nested
	// relayed and told carry the answers to relay and status.
	relayed
	told
	// invalid: the request makes no sense now.
	invalid
)

var kindNames = [...]string{
	hello: "hello", take: "take", nest: "nest", relay: "relay", status: "status", giveBack: "return", leave: "leave", lost: "lost", report: "report",
	welcome: "welcome", refused: "refused", taken: "taken", nested: "nested", relayed: "relayed", told: "told", invalid: "invalid",
}

func (k kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint32(k))
}

// asks says whether a request of kind k is answered under its ticket.
func (k kind) asks() bool { return k == take || k == nest || k == relay || k == status }

// Sizes of the messages, in bytes: kind, ticket, and a body in the byte order of the machine, which both ends run on.
const (
	headerSize  = 8
	requestSize = headerSize + ctl.RelaySize
	answerSize  = headerSize + ctl.StatusSize
)

var errFormat = errors.New("malformed message")

// A request is a message to the server. Fields that its kind does not name are zero.
type request struct {
	kind   kind
	ticket uint32
	n      uint64
	ask    ctl.RelayAsk
}

func appendRequest(b []byte, r request) []byte {
	b = appendHeader(b, r.kind, r.ticket)
	if r.kind == relay {
		return ctl.AppendRelayAsk(b, r.ask)
	}
	b = binary.NativeEndian.AppendUint64(b, r.n)
	return binary.NativeEndian.AppendUint64(b, 0)
}

func parseRequest(b []byte) (request, error) {
	if len(b) != requestSize {
		return request{}, errFormat
	}
	r := request{}
	r.kind, r.ticket = parseHeader(b)
	body := b[headerSize:]
	if r.kind == relay {
		var err error
		r.ask, err = ctl.ParseRelayAsk(body)
		return r, err
	}
	r.n = binary.NativeEndian.Uint64(body)
	counts := r.kind == hello || r.kind == giveBack || r.kind == lost || r.kind == report
	if r.kind < hello || r.kind > report || r.n > pool.MaxJobs || r.n != 0 && !counts || binary.NativeEndian.Uint64(body[8:]) != 0 {
		return request{}, errFormat
	}
	return r, nil
}

// An answer is a message from the server. Fields that its kind does not name are zero.
type answer struct {
	kind   kind
	ticket uint32
	n      uint64
	relay  ctl.RelayAnswer
	status ctl.Status
}

func appendAnswer(b []byte, a answer) []byte {
	b = appendHeader(b, a.kind, a.ticket)
	switch a.kind {
	case relayed:
		return ctl.AppendRelayAnswer(b, a.relay)
	case told:
		return ctl.AppendStatus(b, a.status)
	}
	return binary.NativeEndian.AppendUint64(b, a.n)
}

func parseAnswer(b []byte) (answer, error) {
	if len(b) < headerSize {
		return answer{}, errFormat
	}
	a := answer{}
	a.kind, a.ticket = parseHeader(b)
	var err error
	body := b[headerSize:]
	switch {
	case a.kind == relayed:
		a.relay, err = ctl.ParseRelayAnswer(body)
	case a.kind == told:
		a.status, err = ctl.ParseStatus(body)
	case a.kind < welcome || a.kind > invalid || len(body) != 8:
		err = errFormat
	default:
		a.n = binary.NativeEndian.Uint64(body)
	}
	return a, err
}

func appendHeader(b []byte, k kind, ticket uint32) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(k))
	return binary.NativeEndian.AppendUint32(b, ticket)
}

func parseHeader(b []byte) (kind, uint32) {
	return kind(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:])
}
