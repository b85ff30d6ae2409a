package identity

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"sync"
)

// TokenHeader carries the token of the identity, as it was given, with each request.
const TokenHeader = "Portico-Token"

// Gate keeps out whoever does not know the token of the identity in force. A machine that was copied has a channel of its own and another token:
// a request for the one that reaches the other is refused there. Open until the first identity.
type Gate struct {
	lock   sync.Mutex
	closed bool
	sum    [sha256.Size]byte
}

// Admits tells whether a request may use the machine.
func (g *Gate) Admits(r *http.Request) bool {
	g.lock.Lock()
	closed, sum := g.closed, g.sum
	g.lock.Unlock()
	given := sha256.Sum256([]byte(r.Header.Get(TokenHeader)))
	return !closed || subtle.ConstantTimeCompare(given[:], sum[:]) == 1
}

// close makes this the token in force, and tells its digest.
func (g *Gate) close(token string) string {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.closed, g.sum = true, sha256.Sum256([]byte(token))
	return hex.EncodeToString(g.sum[:])
}
