package manifest

import "strings"

// nearest is the candidate that word was most likely meant to be, or "": the one with the fewest edits, if those
// are at most a third of its length (and at least one is always forgiven).
func nearest(word string, candidates []string) string {
	best, least := "", 1<<30
	for _, c := range candidates {
		if n := edits(strings.ToLower(word), strings.ToLower(c)); n <= max(1, len(c)/3) && n < least {
			best, least = c, n
		}
	}
	return best
}

// edits is the optimal string alignment distance: insertions, deletions, replacements, and swaps of neighbours.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 1 << 20
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// Nearest is the candidate that word was most likely meant to be, or "".
func Nearest(word string, candidates []string) string { return nearest(word, candidates) }
