//! The macro that turns the list of drivers into enums and their functions.

/// Declares a variant in each enum for each `Name: Driver,`. The functions call the
/// [`Driver`](super::Driver) of the variant.
macro_rules! drivers {
    ($($(#[$doc:meta])* $name:ident: $driver:ty,)+) => {
        /// The controller of a lane.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum TurnstileDriver {
            $($(#[$doc])* $name(<$driver as Driver>::Config),)+
        }

        /// Each driver's name and keys.
        const KINDS: &[(&str, &[&str])] =
            &[$((<$driver>::WORD, <<$driver as Driver>::Config as Settings>::KEYS),)+];

        impl TurnstileDriver {
            /// Reads the keys of one lane's turnstile.
            pub fn read(keys: &Keys<'_>) -> Checked<TurnstileDriver> {
                let word: Option<String> = keys.given("driver")?;
                match word.as_deref() {
                    $(Some(<$driver>::WORD) => read::<$driver>(keys).map(TurnstileDriver::$name),)+
                    other => no_driver(other),
                }
            }

            /// Returns the driver's name in the configuration.
            pub fn word(&self) -> &'static str {
                match self {
                    $(TurnstileDriver::$name(_) => <$driver>::WORD,)+
                }
            }

            /// Returns the controller's serial line and its address there.
            pub fn place(&self) -> Option<(&SerialLine, u8)> {
                match self {
                    $(TurnstileDriver::$name(config) => config.place(),)+
                }
            }

            /// Returns whether a guard's button releases the arm in this direction.
            pub fn has_button(&self, direction: Direction) -> bool {
                match self {
                    $(TurnstileDriver::$name(config) => config.has_button(direction),)+
                }
            }

            pub(super) fn spawn(
                &self,
                lane: TaskLane,
                buses: &Buses,
            ) -> (TurnstileHandle, JoinHandle<()>) {
                match self {
                    $(TurnstileDriver::$name(config) => spawn::<$driver>(config, lane, buses),)+
                }
            }

            pub(super) async fn probe(&self, buses: &Buses) -> Result<String, TurnstileError> {
                match self {
                    $(TurnstileDriver::$name(config) => probe::<$driver>(config, buses).await,)+
                }
            }
        }

        /// Looks for each driver's answers among any bytes.
        #[cfg(any(test, fuzzing))]
        pub fn fuzz(heard: &[u8]) {
            $(<$driver>::fuzz(heard);)+
        }

        /// The protocol of a simulated line.
        #[cfg(any(test, feature = "failpoints"))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Protocol {
            $($(#[$doc])* $name,)+
        }

        #[cfg(any(test, feature = "failpoints"))]
        impl Protocol {
            /// Returns the protocols of real controllers.
            pub fn all() -> Vec<Protocol> {
                let all = [$((Protocol::$name, <$driver>::SIMULATED),)+];
                all.into_iter().filter(|(_, simulated)| !simulated).map(|(one, _)| one).collect()
            }

            /// Returns the protocol's values for a [`SimulatedLine`](super::SimulatedLine).
            pub fn speaks(self) -> Speaks {
                let (driver, board): (_, fn(u8) -> _) = match self {
                    $(Protocol::$name => (<$driver>::WORD, <$driver>::board),)+
                };
                Speaks { driver, board }
            }
        }
    };
}
