//! The list of drivers, and what follows from a line of it.

/// Makes of `Name: folder,` a variant of each enum here, and of [`Driver`](super::Driver) what is
/// asked of it.
macro_rules! drivers {
    ($($(#[$doc:meta])* $name:ident: $folder:ident,)+) => {
        /// The controller of a lane.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum TurnstileDriver {
            $($(#[$doc])* $name(<$folder::Kind as Driver>::Config),)+
        }

        /// What a simulated line speaks.
        #[cfg(any(test, feature = "failpoints"))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Protocol {
            $($name,)+
        }

        /// Each driver's name and keys.
        const KINDS: &[(&str, &[&str])] =
            &[$((<$folder::Kind as Driver>::WORD, <<$folder::Kind as Driver>::Config as Settings>::KEYS),)+];

        impl TurnstileDriver {
            /// Reads the keys of one lane's turnstile.
            pub fn read(keys: &Keys<'_>) -> Checked<TurnstileDriver> {
                let word: Option<String> = keys.given("driver")?;
                match word.as_deref() {
                    $(Some(<$folder::Kind as Driver>::WORD) => {
                        read::<$folder::Kind>(keys).map(TurnstileDriver::$name)
                    })+
                    other => no_driver(other),
                }
            }

            /// Its name in the configuration.
            pub fn word(&self) -> &'static str {
                match self {
                    $(TurnstileDriver::$name(_) => <$folder::Kind as Driver>::WORD,)+
                }
            }

            /// Its serial line and its address there.
            pub fn place(&self) -> Option<(&SerialLine, u8)> {
                match self {
                    $(TurnstileDriver::$name(config) => config.place(),)+
                }
            }

            pub(super) fn spawn(&self, task: Task<'_>) -> (TurnstileHandle, JoinHandle<()>) {
                match self {
                    $(TurnstileDriver::$name(config) => spawn::<$folder::Kind>(config, task),)+
                }
            }

            pub(super) async fn probe(&self, buses: &Buses) -> Result<String, TurnstileError> {
                match self {
                    $(TurnstileDriver::$name(config) => {
                        probe::<$folder::Kind>(config, buses).await
                    })+
                }
            }
        }

        #[cfg(any(test, feature = "failpoints"))]
        impl Protocol {
            /// For a [`SimulatedLine`](super::SimulatedLine).
            pub fn speaks(self) -> crate::turnstile::simulation::Speaks {
                let (driver, board): (_, fn(u8) -> _) = match self {
                    $(Protocol::$name => (<$folder::Kind as Driver>::WORD, $folder::Kind::board),)+
                };
                crate::turnstile::simulation::Speaks { driver, board }
            }
        }
    };
}
