//! The page with the workers and photos that wait for a confirmation: HTML in one file, with the
//! photos in it.
//!
//! A platform's texts are escaped, and the page's policy lets it load and run nothing.

use jiff::civil::Date;

use crate::{evidence::escaped, roster::WaitsWhat, services::WaitingWorker, words::counted};

/// Returns the page's begin.
pub(super) fn head(site: &str) -> String {
    format!(
        "<!DOCTYPE html><html lang=zh><meta charset=utf-8><meta http-equiv=Content-Security-Policy \
         content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"><title>待确认人员</title>\
         <style>body{{font-family:sans-serif;margin:1cm}}section{{break-inside:avoid;border-top:1px \
         solid #999;padding:3mm 0}}img{{max-height:45mm;margin:1mm;vertical-align:top}}img.now\
         {{filter:grayscale(1);border:1px dashed #666}}h2{{font-size:12pt;margin:0}}p{{margin:1mm 0;\
         font-size:10pt}}</style><h1>待确认人员 To be confirmed · {}</h1><p>由平台传来，尚未生效。请与本人及证件\
         核对。Sent by a platform, and not in force. Compare with the people and their documents. \
         虚线黑白照片为现用照片。A grey photo with a dashed frame is the one in force.\n",
        escaped(site)
    )
}

/// Returns the begin of a worker's section; the photos follow.
pub(super) fn worker(WaitingWorker { worker, id_number, .. }: &WaitingWorker) -> String {
    let (person, terms) = (&worker.person, &worker.terms);
    let day = |day: Option<Date>| day.map_or_else(|| "—".to_owned(), |day| day.to_string());
    let what = match worker.waits.as_ref().map(|waits| waits.what) {
        Some(WaitsWhat::Worker) => "新人员 new worker",
        Some(WaitsWhat::Faces) => "新照片 new photo",
        None => "",
    };
    let from = worker.waits.as_ref().map(|waits| waits.from.as_str()).unwrap_or_default();
    format!(
        "<section><h2>{} · {}</h2><p>{what} · {} · {}<p>{} · {} · {}<p>{} – {} · {}<p>\n",
        escaped(person.id.as_str()),
        escaped(&person.name),
        escaped(from),
        escaped(id_number),
        escaped(&person.team),
        escaped(&person.contractor),
        escaped(&person.trade),
        day(terms.valid_from),
        day(terms.valid_until),
        escaped(worker.state.word()),
    )
}

/// Returns one photo of the worker before it.
pub(super) fn photo(waits: bool, jpeg: &str) -> String {
    let class = if waits { "new" } else { "now" };
    format!("<img class={class} alt={class} src=\"data:image/jpeg;base64,{}\">\n", escaped(jpeg))
}

/// Returns the page's end.
pub(super) fn foot(command: &str, workers: u64) -> String {
    let count = counted(workers, "worker");
    format!(
        "<section><p>{count}. 核对无误后运行 When all are right, run: <code>{}</code></html>\n",
        escaped(command)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::{Person, Waits, Worker};

    #[test]
    fn the_texts_of_a_platform_are_escaped_on_the_sheet() {
        let text = || "<script>\"'&".to_owned();
        let id = "W001".parse().unwrap();
        let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
        let waits = Some(Waits { what: WaitsWhat::Worker, from: text() });
        let worker = Worker { waits, ..Worker::new(person) };
        let shown = WaitingWorker { worker, id_number: text(), seen: String::new() };
        let page = [head(&text()), super::worker(&shown), photo(true, "\"><b>"), foot(&text(), 1)];
        let page = page.concat();
        assert_eq!(page.matches("&lt;script&gt;&quot;").count(), 8, "{page}");
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    }
}
