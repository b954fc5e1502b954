package chaos_test

import "testing"

// TestWhatIsCommittedIsPublishedAndNothingElseWhenAtollIsKilled kills Atoll, with the database server that it runs, while
// services commit rows together with events, and sometimes roll them back.
func TestWhatIsCommittedIsPublishedAndNothingElseWhenAtollIsKilled(t *testing.T) {
	rounds := 5
	if soak() {
		rounds = 20
	}
	p := eventsApp(t, map[string]string{"sqlite": "database: sqlite\noutbox: true\n", "postgres": "database: postgres\noutbox: true\n"}, "takes")
	p.killAgainAndAgain(t, rounds)
	book := p.finale(t)
	for _, problem := range book.problems() { // one that was rolled back is in no ledger, and so published by nobody
		t.Error(problem)
	}
	if len(book.acked) != len(book.published) || len(book.acked) == 0 {
		t.Errorf("%d of %d were committed in the end", len(book.acked), len(book.published))
	}
	t.Logf("%d rounds, %d events committed, %d deliveries taken, %d of them again", rounds, len(book.acked), book.taken, book.again)
}
