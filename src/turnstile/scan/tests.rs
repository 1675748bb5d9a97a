use super::*;

/// Feeds `line` in pieces, as a port does. Returns the first answer and the largest number of bytes
/// that was kept.
pub fn hear(
    line: &[u8],
    pieces: &[usize],
    find: impl Fn(&[u8]) -> Found,
) -> (Option<Vec<u8>>, usize) {
    let (mut heard, mut most) = (Vec::new(), 0);
    let (mut line, mut pieces) = (line, pieces.iter().cycle());
    while !line.is_empty() {
        let piece = *pieces.next().unwrap_or(&1);
        let (now, later) = line.split_at(piece.clamp(1, line.len()));
        line = later;
        heard.extend_from_slice(now);
        match find(&heard) {
            Found::Answer { passed_over, len } => {
                return (Some(heard[passed_over..passed_over + len].to_vec()), most);
            }
            Found::Nothing { passed_over } => drop(heard.drain(..passed_over)),
        }
        most = most.max(heard.len());
    }
    (None, most)
}
