use super::*;

/// R12: the first draws are pinned. A change here changes every published run.
#[test]
fn first_draws_are_pinned() {
    let draws = |name: &str| -> Vec<u64> {
        let mut rng = stream(1, name, 0, 0);
        (0..2).map(|_| rng.next_u64()).collect()
    };
    assert_eq!(draws("init"), PINNED_INIT);
    assert_eq!(draws("augment"), PINNED_AUGMENT);
    assert_eq!(id_hash("clip"), PINNED_HASH);
    let order = Permutation::new(1, "order", 0, 10);
    assert_eq!((0..10).map(|i| order.at(i)).collect::<Vec<_>>(), PINNED_ORDER);
}
const PINNED_INIT: [u64; 2] = [3825592822178070161, 13354350035193381340];
const PINNED_AUGMENT: [u64; 2] = [7139059944934838258, 2678396823832305817];
const PINNED_HASH: u64 = 12238908035973626162;
const PINNED_ORDER: [usize; 10] = [9, 7, 0, 8, 3, 1, 6, 2, 5, 4];

#[test]
fn permutation_is_a_bijection_for_every_small_length() {
    for len in 0..300 {
        for epoch in 0..3 {
            let order = Permutation::new(9, "order", epoch, len);
            let mut seen: Vec<usize> = (0..len).map(|i| order.at(i)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..len).collect::<Vec<_>>());
        }
    }
}

#[test]
fn permutation_differs_by_seed_epoch_and_name() {
    let order = |seed, name, epoch| -> Vec<usize> {
        let order = Permutation::new(seed, name, epoch, 1000);
        (0..1000).map(|i| order.at(i)).collect()
    };
    let base = order(1, "a", 0);
    assert_ne!(base, order(2, "a", 0));
    assert_ne!(base, order(1, "b", 0));
    assert_ne!(base, order(1, "a", 1));
    // An order close to the identity would train on sorted classes: about one fixed point is due.
    assert!(base.iter().enumerate().filter(|(i, v)| i == *v).count() < 10);
}

#[test]
fn moments_are_those_of_the_named_distributions() {
    let mut rng = stream(3, "moments", 0, 0);
    let n = 200_000;
    let (mut sum, mut squares, mut uniform) = (0.0f64, 0.0f64, 0.0f64);
    for _ in 0..n {
        let x = f64::from(rng.normal());
        sum += x;
        squares += x * x;
        uniform += f64::from(rng.uniform());
    }
    assert!((sum / f64::from(n)).abs() < 0.01);
    assert!((squares / f64::from(n) - 1.0).abs() < 0.02);
    assert!((uniform / f64::from(n) - 0.5).abs() < 0.005);
}

#[test]
fn below_is_unbiased_and_in_range() {
    let mut rng = stream(4, "below", 0, 0);
    let mut counts = [0u32; 7];
    for _ in 0..70_000 {
        counts[rng.below(7) as usize] += 1;
    }
    assert!(counts.iter().all(|&count| (9_500..10_500).contains(&count)), "{counts:?}");
    assert_eq!(rng.below(0), 0);
}
