//! LiteLLM's list: an excerpt of the format.

use pricing::{
    Money, NotMoney, Price,
    litellm::{self, Fault},
};

#[test]
fn prices_are_taken_as_they_stand_and_what_has_none_says_so() {
    let read = litellm::read(include_str!("litellm.json")).unwrap();
    let names: Vec<_> = read.iter().map(|(model, _)| model.as_str()).collect();
    let expected = [
        "a-list",
        "broken",
        "deepinfra/meta-llama/Llama-3.1-8B",
        "gpt-4o-mini",
        "paid-to-read",
        "text-embedding-3-small",
        "whisper-1",
    ];
    assert_eq!(names, expected, "sample_spec is no model");
    let of = |name: &str| read.iter().find(|(model, _)| model == name).unwrap().1.clone();
    let dollars = |text: &str| Some(text.parse::<Money>().unwrap());
    let mini = of("gpt-4o-mini").unwrap();
    let price = Price { input: dollars("0.15"), cache_read: dollars("0.075"), output: dollars("0.6") };
    assert_eq!((mini.price, mini.provider.as_str()), (price, "openai"));
    assert_eq!(mini.left_out, ["input_cost_per_token_batches"]);
    let llama = of("deepinfra/meta-llama/Llama-3.1-8B").unwrap();
    assert_eq!((llama.price.input, llama.price.output), (dollars("0.03"), dollars("0.05")));
    let vectors = of("text-embedding-3-small").unwrap();
    assert_eq!((vectors.price.input, vectors.price.output), (dollars("0.02"), Some(Money(0))));
    assert_eq!(of("whisper-1"), Err(Fault::NoPrice));
    assert_eq!(of("broken"), Err(Fault::NotMoney(NotMoney::Malformed)));
    assert_eq!(of("paid-to-read"), Err(Fault::Negative));
    assert_eq!(of("a-list"), Err(Fault::Malformed));
}

#[test]
fn what_is_no_list_is_refused() {
    for text in ["", "[]", "{", "3", r#"{"a": }"#] {
        assert!(litellm::read(text).is_err(), "{text}");
    }
    assert_eq!(litellm::read("{}").unwrap(), []);
}
