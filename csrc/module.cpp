#include <pybind11/pybind11.h>
#include <torch/library.h>

#include "built_for.h" // written by setup.py

// Schemas of the operators; ops/ implements them once, cpu/ and cuda/ launch them.
TORCH_LIBRARY(pyrobust, m) {
  m.def(
      "linf_step_(Tensor(a!) x_adv, Tensor x, Tensor grad, float step_size, float epsilon) -> ()");
  m.def("l2_step_(Tensor(a!) x_adv, Tensor x, Tensor grad, float step_size, float epsilon) -> ()");
  m.def(
      "linf_adam_step_(Tensor(a!) x_adv, Tensor x, Tensor grad, Tensor(b!) exp_avg, "
      "Tensor(c!) exp_avg_sq, int step, float learning_rate, float epsilon, float beta1, "
      "float beta2, float eps) -> ()");
  m.def(
      "l2_adam_step_(Tensor(a!) x_adv, Tensor x, Tensor grad, Tensor(b!) exp_avg, "
      "Tensor(c!) exp_avg_sq, int step, float learning_rate, float epsilon, float beta1, "
      "float beta2, float eps) -> ()");

  m.def(
      "apgd_step_(Tensor(a!) x_adv, Tensor(b!) x_previous, Tensor x, Tensor grad, "
      "Tensor step_size, float epsilon, bool l2, float momentum) -> ()");
  m.def(
      "apgd_track_(Tensor(a!) x_adv, Tensor(b!) grad, Tensor loss, Tensor correct, "
      "Tensor(c!) x_best, Tensor(d!) grad_best, Tensor(e!) x_broken, Tensor(f!) loss_best, "
      "Tensor(g!) loss_previous, Tensor(h!) num_increases, Tensor(i!) loss_best_at_check, "
      "Tensor(j!) halved_at_check, Tensor(k!) step_size, Tensor(l!) standing, int window, "
      "float rho) -> ()");

  m.def(
      "l1_step_(Tensor(a!) x_adv, Tensor x, Tensor grad, Tensor step_size, Tensor num_moved, "
      "float epsilon) -> ()");
  m.def("l1_project_(Tensor(a!) point, Tensor x, float epsilon) -> ()");

  m.def(
      "random_start(Tensor x, Tensor sample_ids, float epsilon, bool l2, int seed, int step, "
      "bool on_boundary) -> Tensor");
  m.def("normal(Tensor sample_ids, int[] shape, int seed, int stream, ScalarType dtype) -> Tensor");
  m.def(
      "uniform(Tensor sample_ids, int[] shape, int seed, int stream, ScalarType dtype) -> Tensor");
  m.def(
      "random_signs(Tensor sample_ids, int[] shape, int seed, int stream, ScalarType dtype) "
      "-> Tensor");

  m.def("cross_entropy(Tensor logits, Tensor? labels, Tensor? probs) -> (Tensor, Tensor)");
  m.def("trades_kl(Tensor clean_logits, Tensor adversarial_logits) -> (Tensor, Tensor, Tensor)");
  m.def("margin(Tensor logits, Tensor labels) -> (Tensor, Tensor)");
  m.def("dlr(Tensor logits, Tensor labels) -> (Tensor, Tensor)");
  m.def("targeted_margin(Tensor logits, Tensor labels, Tensor targets) -> (Tensor, Tensor)");
  m.def("targeted_dlr(Tensor logits, Tensor labels, Tensor targets) -> (Tensor, Tensor)");

  m.def(
      "sgd_ema_step_(Tensor(a!)[] params, Tensor[] grads, Tensor(b!)[] momentum_buffers, "
      "Tensor(c!)[] averages, bool[] decayed, float learning_rate, float momentum, "
      "float weight_decay, float ema_decay) -> ()");
  m.def("ema_update_(Tensor(a!)[] averages, Tensor[] values, float decay) -> ()");

  m.def(
      "gather_augment(Tensor images, Tensor index, Tensor sample_ids, int seed, int epoch, "
      "int padding, bool flip, ScalarType dtype, bool channels_last) -> Tensor");
}

// pyrobust/ops/core.py finds it in the file, before it loads a core that may not fit.
extern "C" __attribute__((used, visibility("default"))) const char pyrobust_built_for[] =
    PYROBUST_BUILT_FOR;

// Importing the module runs the registrations.
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.doc() = "Compiled core of pyrobust; the operators are under torch.ops.pyrobust.";
}
