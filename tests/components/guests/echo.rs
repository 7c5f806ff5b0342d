//! Passes rows through. Keeps nothing: the one guest of the world `stateless`, on the bindings alone.

wit_bindgen::generate!({ path: "../../wit", world: "stateless" });

use exports::reprise::operator::operator::{Context, Description, Guest, Port};
use reprise::operator::data::{Batch, Emitted, Encoding, Outcome, Output};

struct Echo;

impl Guest for Echo {
    fn describe() -> Description {
        Description {
            name: "echo".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            inputs: vec!["rows".to_owned()],
            outputs: vec![Port { name: "rows".to_owned(), key: Encoding::Bytes, value: Encoding::Bytes }],
            slots: Vec::new(),
        }
    }

    fn open(_: Context) -> Result<(), String> {
        Ok(())
    }

    fn process(_: u32, rows: Batch) -> Result<Outcome, String> {
        Ok(Outcome { outputs: vec![Output { port: 0, rows }], rejected: Vec::new(), more: false })
    }

    fn advance(_: i64) -> Result<Emitted, String> {
        Ok(Emitted { outputs: Vec::new(), more: false })
    }

    fn resume() -> Result<Emitted, String> {
        Err("there is never more".to_owned())
    }
}

#[cfg(target_arch = "wasm32")]
export!(Echo);
#[cfg(not(target_arch = "wasm32"))]
const _: Echo = Echo;
