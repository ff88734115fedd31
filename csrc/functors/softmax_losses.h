#pragma once

#include "elementary.h"
#include "reduction.h"

// Losses of a row of logits z that need its softmax, with their gradients to the logits.
namespace pyrobust {

// The largest of any values.
template <typename T>
struct Peak {
  using Accumulator = Peak;
  static constexpr bool kAnyOrder = true;
  T value = -INFINITY;

  PYROBUST_HD void take(Peak other) {
    value = other.value > value ? other.value : value;
  }
  PYROBUST_HD Peak combine(Peak other) const {
    return {other.value > value ? other.value : value};
  }
};

template <typename T>
struct Peaks {
  using Accumulator = Peaks;
  static constexpr bool kAnyOrder = true;
  Peak<T> clean, adversarial;

  PYROBUST_HD void take(Peaks other) {
    clean.take(other.clean);
    adversarial.take(other.adversarial);
  }
  PYROBUST_HD Peaks combine(Peaks other) const {
    return {clean.combine(other.clean), adversarial.combine(other.adversarial)};
  }
};

// log softmax(z)_j = (z_j - peak) - log_sum
template <typename T>
struct Softmax {
  T peak;
  double sum, log_sum;

  PYROBUST_HD T power(T z) const {
    return exponential(z - peak);
  }
  PYROBUST_HD void set_sum(double value) {
    sum = value;
    log_sum = logarithm(value);
  }
  PYROBUST_HD double log_probability(T z) const {
    return (double(z) - double(peak)) - log_sum;
  }
  PYROBUST_HD double probability(T z) const {
    return double(power(z)) / sum;
  }
};

// sum_j p_j (log sum exp z - z_j); its gradient is softmax(z)_j sum(p) - p_j.
template <typename T>
struct CrossEntropy {
  static constexpr int kPasses = 3;

  struct Row {
    Softmax<T> softmax;
    double loss, total;
  };

  PYROBUST_HD Row begin(T) const {
    return {};
  }
  PYROBUST_HD Peak<T> term(Pass<0>, const Row&, int64_t, T, T z, T) const {
    return {z};
  }
  PYROBUST_HD void finish(Pass<0>, Row& row, Peak<T> peak) const {
    row.softmax.peak = peak.value;
  }
  PYROBUST_HD Sum term(Pass<1>, const Row& row, int64_t, T, T z, T) const {
    return {double(row.softmax.power(z))};
  }
  PYROBUST_HD void finish(Pass<1>, Row& row, Sum sum) const {
    row.softmax.set_sum(sum.value);
  }
  PYROBUST_HD Sum2 term(Pass<2>, const Row& row, int64_t, T, T z, T p) const {
    // A class of no weight adds nothing, not even where its logit is -infinity.
    const double surprise = p == T(0) ? 0.0 : -row.softmax.log_probability(z);
    return {double(p) * surprise, double(p)};
  }
  PYROBUST_HD void finish(Pass<2>, Row& row, Sum2 sums) const {
    row.loss = sums.first;
    row.total = sums.second;
  }
  PYROBUST_HD void apply(const Row& row, int64_t, T& grad, T z, T p) const {
    grad = static_cast<T>(row.softmax.probability(z) * row.total) - p;
  }
  PYROBUST_HD void end(const Row& row, T& loss) const {
    loss = static_cast<T>(row.loss);
  }
};

// KL(p || q) = sum_j p_j (log p_j - log q_j) for p, q the softmax of clean and adversarial logits
// (TRADES, Zhang et al. 2019, Eq. 5), with its gradients to both.
template <typename T>
struct TradesKl {
  static constexpr int kPasses = 3;

  struct Row {
    Softmax<T> clean, adversarial;
    double loss;
  };
  PYROBUST_HD Row begin(T) const {
    return {};
  }
  PYROBUST_HD Peaks<T> term(Pass<0>, const Row&, int64_t, T, T, T clean, T adversarial) const {
    return {{clean}, {adversarial}};
  }
  PYROBUST_HD void finish(Pass<0>, Row& row, Peaks<T> peaks) const {
    row.clean.peak = peaks.clean.value;
    row.adversarial.peak = peaks.adversarial.value;
  }
  PYROBUST_HD Sum2 term(Pass<1>, const Row& row, int64_t, T, T, T clean, T adversarial) const {
    return {double(row.clean.power(clean)), double(row.adversarial.power(adversarial))};
  }
  PYROBUST_HD void finish(Pass<1>, Row& row, Sum2 sums) const {
    row.clean.set_sum(sums.first);
    row.adversarial.set_sum(sums.second);
  }
  PYROBUST_HD double log_ratio(const Row& row, T clean, T adversarial) const {
    return row.clean.log_probability(clean) - row.adversarial.log_probability(adversarial);
  }
  PYROBUST_HD Sum term(Pass<2>, const Row& row, int64_t, T, T, T clean, T adversarial) const {
    const double p = row.clean.probability(clean);
    return {p == 0.0 ? 0.0 : p * log_ratio(row, clean, adversarial)};
  }
  PYROBUST_HD void finish(Pass<2>, Row& row, Sum sum) const {
    row.loss = sum.value;
  }
  PYROBUST_HD void
  apply(const Row& row, int64_t, T& grad_clean, T& grad_adversarial, T clean, T adversarial) const {
    const double p = row.clean.probability(clean);
    const double q = row.adversarial.probability(adversarial);
    const double surprise = log_ratio(row, clean, adversarial) - row.loss;
    grad_clean = p == 0.0 ? T(0) : static_cast<T>(p * surprise);
    grad_adversarial = static_cast<T>(q - p);
  }
  PYROBUST_HD void end(const Row& row, T& loss) const {
    loss = static_cast<T>(row.loss);
  }
};

} // namespace pyrobust
