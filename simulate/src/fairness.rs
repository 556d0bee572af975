//! Jain's index of what users got against what they were entitled to.

/// What each of several demands is entitled to of a whole: an equal part each, and what somebody does not need is
/// divided among the others.
#[must_use]
pub fn entitlements(demands: &[f64], whole: f64) -> Vec<f64> {
    let mut entitled = vec![0.0; demands.len()];
    let mut open: Vec<usize> = (0..demands.len()).filter(|&user| demands[user] > 0.0).collect();
    let mut left = whole;
    while !open.is_empty() {
        let part = left / open.len() as f64;
        let (content, wanting): (Vec<usize>, Vec<usize>) =
            open.iter().partition(|&&user| demands[user] <= part);
        if content.is_empty() {
            for user in wanting {
                entitled[user] = part;
            }
            break;
        }
        for user in content {
            entitled[user] = demands[user];
            left -= demands[user];
        }
        open = wanting;
    }
    entitled
}

/// Jain's index of service against entitlement, 1 / users to 1. 1 when nobody got anything.
#[must_use]
pub fn jain(service: &[f64], demands: &[f64]) -> f64 {
    let entitled = entitlements(demands, service.iter().sum());
    let parts = service.iter().zip(&entitled).filter(|(_, entitled)| **entitled > 0.0);
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (service, entitled) in parts {
        let part = service / entitled;
        (count, sum, squares) = (count + 1.0, sum + part, part.mul_add(part, squares));
    }
    if squares == 0.0 { 1.0 } else { sum * sum / (count * squares) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_does_not_need_is_for_the_others() {
        assert_eq!(entitlements(&[1.0, 10.0, 10.0, 0.0], 9.0), [1.0, 4.0, 4.0, 0.0]);
        assert_eq!(entitlements(&[1.0, 2.0], 100.0), [1.0, 2.0]);
    }

    #[test]
    fn the_index_is_one_for_equal_parts_and_falls_with_the_share_of_one() {
        assert!((jain(&[1.0, 4.0, 4.0], &[1.0, 10.0, 10.0]) - 1.0).abs() < 1e-12);
        assert!((jain(&[9.0, 0.0, 0.0], &[10.0, 10.0, 10.0]) - 1.0 / 3.0).abs() < 1e-12);
        assert!((jain(&[0.0], &[1.0]) - 1.0).abs() < 1e-12);
    }
}
