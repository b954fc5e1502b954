// Package parquet writes and reads the part of the Apache Parquet format (https://github.com/apache/parquet-format) that blocks of telemetry need. It
// knows nothing of telemetry, and nothing of ours.
//
// What it writes is plain Parquet that other tools read as it lies: flat columns, all optional, of eight types; pages of equal rows in all columns of a
// group, each with the standard checksum; zstd; dictionaries, deltas or plain values, chosen by a look at the values; an offset index, so that one page is
// read by itself; split-block bloom filters. What is ours lies in the key-value metadata, where others ignore it: checksums of what Parquet has none for
// (offset indexes, bloom filters, sections), and the place of sections, which are bytes between the groups and the footer.
//
// It reads only files that it wrote itself.
//
// Trust: Writer.Close gives a checksum of the footer, which the caller keeps outside of the file. All else in the file is covered by checksums in the
// footer or in a page, and what is not (the header of a page) must be as the footer says. So a flipped bit gives an error, a *Corrupt that says where,
// or changes nothing, but never gives other values. A file that was made to harm costs no more memory than Limits say, and no more than a bounded multiple
// of the bytes that it has.
//
// Memory: a Writer holds one chunk before and after compression, besides what each page needs in the footer (about 40 bytes). A Scratch holds one page and
// one dictionary.
//
// Order: rows and groups are read in the order in which they were written. Columns have the order in which the writer saw them first.
//
// Failure: an error of the io.Writer stays in the Writer, which then writes no more; what was written before is no file, since the footer comes last.
package parquet
