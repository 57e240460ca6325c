//! Conversations as the checks of sessions read them, of which whole negotiations are made.

use proptest::prelude::*;

/// Settings and steps of a conversation; whole negotiations are more likely than chance makes them.
pub(super) fn conversation() -> impl Strategy<Value = Vec<u8>> {
    // Lines of the peers by their place in the vocabulary, and answers of the executor.
    const PASSAGES: &[&[u8]] = &[
        &[0, 3, 16, 5, 37],
        &[0, 4, 16, 14, 37],
        &[0, 8, 37, 16, 19],
        &[0, 13, 37, 16, 19],
        &[0, 3, 16, 7, 0x90, 8, 0x90, 10, 37],
        &[0, 4, 16, 5, 37],
        &[0, 8, 16, 5, 37, 42, 0],
        &[0, 16, 16, 20, 16, 21],
        &[0, 3, 0x80, 16, 0x80, 24],
        &[16, 5, 0x90, 21],
        &[42, 0, 48, 0, 0],
        &[45, 0, 48, 0, 1],
        &[0, 25, 16, 29],
        // TLS and the range, connections through it, and the return to text.
        &[0, 25, 16, 29, 44, 5],
        &[0, 25, 16, 29, 44, 5, 59, 0, 59, 1, 60, 0, 0],
        &[59, 0],
        &[59, 1, 60, 0, 0],
        &[0, 4],
    ];
    // Where TLS ends at the gateway: handshakes, the server's answers, and what is agreed inside.
    const ENDED: &[&[u8]] = &[
        &[14, 0],
        &[14, 1, 24, 0],
        &[24, 0],
        &[24, 0, 24, 0, 24, 0],
        &[24, 0, 14, 0, 24, 0, 14, 0],
        &[8, 0, 24, 0, 14, 1],
        &[8, 0, 24, 0, 14, 2, 33, 0],
        &[8, 1, 9, 2, 24, 0, 24, 0],
        &[8, 1, 9, 2, 24, 5, 24, 5],
        &[8, 15, 24, 0, 24, 0, 24, 0, 37],
        &[8, 4, 24, 0, 24, 0, 24, 0],
        &[0, 0, 24, 0],
        &[0, 0, 0x80, 1, 24, 0, 24, 0],
        &[12, 5],
        &[12, 7],
        // The start, with words ahead of it, behind it and amid it.
        &[58, 14, 0],
        &[58, 16, 0, 0x90, 3, 14, 1],
        &[0, 0, 58, 24, 0, 14, 0, 24, 0],
        &[58, 0, 0, 24, 0, 14, 0, 24, 0, 14, 0],
        &[58, 14, 0, 24, 0, 16, 30, 24, 0],
        &[58, 24, 0, 29, 11, 14, 0],
        &[58, 29, 7, 14, 0],
        &[8, 0, 0x80, 0],
        &[0, 16, 24, 3, 42, 0, 47, 0, 24, 0, 48, 0, 0],
    ];
    let step = prop_oneof![
        3 => prop::sample::select(PASSAGES).prop_map(<[u8]>::to_vec),
        3 => prop::sample::select(ENDED).prop_map(<[u8]>::to_vec),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(code, operand)| vec![code, operand]),
    ];
    let settings =
        (any::<bool>(), any::<[u8; 4]>()).prop_map(|(log_in, [flags, choices, more, ended])| {
            let flags = if log_in { flags | 0x80 } else { flags };
            let mut settings = vec![flags, choices, more];
            if choices & 0x80 != 0 {
                settings.push(ended);
            }
            settings
        });
    (settings, prop::collection::vec(step, 0..24))
        .prop_map(|(settings, steps)| [settings, steps.concat()].concat())
}

/// The same for the reference model: its own vocabulary, of which whole negotiations are made.
pub(super) fn ruled_conversation() -> impl Strategy<Value = Vec<u8>> {
    const PASSAGES: &[&[u8]] = &[
        &[0, 2, 20, 12],
        &[0, 2, 20, 12, 40, 46],
        &[0, 3, 20, 23],
        &[0, 5, 40, 20, 5],
        &[0, 9, 45],
        &[0, 6, 40, 20, 10],
        &[0, 24, 20, 6],
        &[20, 7, 48],
        &[0, 2, 20, 18, 20, 20, 20, 17],
        &[0, 29, 20, 29, 20, 30, 20, 33],
        &[0, 22, 20, 5],
        &[0, 30, 20, 0],
        &[0, 31, 0x80, 2],
        &[50, 2],
        &[56, 20, 0],
    ];
    let step = prop_oneof![
        4 => prop::sample::select(PASSAGES).prop_map(<[u8]>::to_vec),
        2 => (0..40u8, any::<u8>()).prop_map(|(code, operand)| vec![code, operand]),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(code, operand)| vec![code, operand]),
    ];
    (any::<u8>(), prop::collection::vec(step, 0..24))
        .prop_map(|(settings, steps)| [vec![settings], steps.concat()].concat())
}

/// A choice of the owner's rules, settings, and steps most of which are lines that rules are about and
/// replies to them.
pub(super) fn judged_conversation() -> impl Strategy<Value = Vec<u8>> {
    let step = prop_oneof![
        5 => (0..60u8).prop_map(|line| vec![4, line]),
        2 => (0..60u8).prop_map(|line| vec![0x84, line]),
        9 => Just(vec![22, 0]),
        1 => (0..8u8).prop_map(|manner| vec![22, manner]),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(code, operand)| vec![code, operand]),
    ];
    let settings =
        (0..16u8, any::<[u8; 4]>()).prop_map(|(rules, [flags, choices, more, ended])| {
            let mut settings = vec![rules, flags | 0x80, choices & 0x9f, more];
            if choices & 0x80 != 0 {
                settings.push(ended);
            }
            settings
        });
    (settings, prop::collection::vec(step, 0..40))
        .prop_map(|(settings, steps)| [settings, steps.concat()].concat())
}
