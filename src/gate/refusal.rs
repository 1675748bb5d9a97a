//! Why a lane refuses a release by hand or a change of its mode, in words for a person.

/// Why a lane refuses a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("void: the request reached the lane after its deadline")]
    Void,
    #[error(
        "the last passage cannot be recorded, so the lane releases nothing; see `gatehouse status`"
    )]
    PassageNotRecorded,
    #[error("the lane is closed for entry; `gatehouse lane mode` opens it")]
    ClosedForEntry,
    #[error("another passage through this lane is under way; ask again")]
    PassageUnderWay,
    #[error("not released: the release cannot be recorded: {error}")]
    ReleaseNotRecorded { error: String },
    #[error("not released: {error}")]
    NoPassageId { error: String },
    #[error("the lane restarts after a fault; ask again in a moment")]
    Restarts,
    #[error("the fire alarm at lane {} is on: end the alarm first", .lanes.join(", "))]
    FireAlarm { lanes: Vec<String> },
    #[error("a fire alarm came in between: the lane stands open")]
    FireAlarmBetween,
    #[error("another change of this lane's mode is under way; ask again")]
    ChangeUnderWay,
    #[error("not changed: the change cannot be recorded: {error}")]
    ChangeNotRecorded { error: String },
}
