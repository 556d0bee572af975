use super::*;

fn tell(answer: Answer) -> (Vec<String>, String) {
    let mut telling = Telling::new(answer);
    let mut deltas = Vec::new();
    while !telling.is_finished() {
        deltas.push(telling.next().1);
    }
    let text = deltas.concat();
    (deltas, text)
}

fn load_test(max_tokens: u32) -> Shape {
    Shape { max_tokens, ignore_eos: true, ..Shape::default() }
}

#[test]
fn the_same_prompt_has_the_same_answer_and_a_longer_one_begins_alike() {
    let (short, long) = (Answer::plan("w1", &load_test(5)), Answer::plan("w1", &load_test(9)));
    assert_eq!((short.tokens, &short.finish), (5, &Finish::Length));
    assert!(tell(long).1.starts_with(&tell(short).1));
    assert_ne!(tell(Answer::plan("w2", &load_test(5))).1, tell(Answer::plan("w1", &load_test(5))).1);
}

#[test]
fn an_answer_says_that_it_is_simulated_unless_it_is_a_load_test() {
    let shape = Shape { max_tokens: 4000, ..Shape::default() };
    let answer = Answer::plan("hello", &shape);
    assert_eq!(answer.finish, Finish::Stop);
    assert!(tell(answer.clone()).1.starts_with("(simulated) w"));
    assert_eq!(answer.token(answer.tokens - 1).text, "");
    assert!(tell(Answer::plan("hello", &load_test(4))).1.starts_with(" w"));
}

#[test]
fn min_tokens_puts_off_the_natural_end() {
    let shape = Shape { max_tokens: 4000, min_tokens: 900, ..Shape::default() };
    // The end itself is a token too.
    assert_eq!(Answer::plan("hello", &shape).tokens, 901);
}

#[test]
fn a_stop_string_cuts_the_text_and_is_held_back_before() {
    let (whole_deltas, whole) = tell(Answer::plan("w1", &load_test(20)));
    let stop = format!("{}{}", &whole_deltas[3][2..], &whole_deltas[4][..2]);
    let at = whole.find(&stop).unwrap();
    let answer = Answer::plan("w1", &Shape { stop: vec![stop.clone()], ..load_test(20) });
    let (deltas, text) = tell(answer.clone());
    assert_eq!((answer.tokens, &answer.finish), (5, &Finish::StopString(stop.clone())));
    assert_eq!(text, whole[..at]);
    assert_eq!(deltas.len(), 5);

    let shape = Shape { stop: vec![stop], include_stop: true, ..load_test(20) };
    assert!(tell(Answer::plan("w1", &shape)).1.len() > at);
}

#[test]
fn a_stop_token_is_counted_but_not_shown() {
    let plain = Answer::plan("w1", &load_test(20));
    let id = plain.token(2).id;
    let answer = Answer::plan("w1", &Shape { stop_token_ids: vec![id], ..load_test(20) });
    assert_eq!((answer.tokens, &answer.finish), (3, &Finish::StopToken(id)));
    assert_eq!(tell(answer).1, format!("{}{}", plain.token(0).text, plain.token(1).text));
}

#[test]
fn stop_strings_before_min_tokens_do_not_count() {
    let shape = Shape { stop: vec!["w".to_owned()], min_tokens: 7, ..load_test(20) };
    assert_eq!(Answer::plan("w1", &shape).tokens, 8);
}

#[test]
fn an_answer_goes_on_as_it_would_have_without_a_break() {
    let shape = Shape { max_tokens: 4000, ..Shape::default() };
    let whole = Answer::plan("hello", &shape);
    let (deltas, text) = tell(whole.clone());
    for break_at in [1, 5, deltas.len() - 1] {
        let said = deltas[..break_at].concat();
        let rest = Answer::continued("hello", &said, &shape).unwrap();
        assert_eq!((rest.tokens as usize, &rest.finish), (deltas.len() - break_at, &whole.finish));
        assert_eq!(said + &tell(rest).1, text);
    }
    let few =
        Answer::continued("hello", &deltas[..5].concat(), &Shape { max_tokens: 3, ..shape.clone() }).unwrap();
    assert_eq!((few.tokens, few.finish), (3, Finish::Length));
    assert_eq!(Answer::continued("hello", "(simulated) something else", &shape), None);
}
