use super::*;

#[test]
fn frames_are_frozen() {
    let frame = |command: Command| hex::encode_upper(command.frame(1));
    assert_eq!(frame(Command::Left), "EB014000AA");
    assert_eq!(frame(Command::Right), "EB014100AB");
    assert_eq!(frame(Command::DropArm), "EB014200A8");
    assert_eq!(frame(Command::RaiseArm), "EB014300A9");
}
