// A whole step as one launch: when it has come several times with the same arrays, what the host puts on the stream is
// captured as a graph. The first launch of a graph is compared with an ordinary step; whatever goes wrong, steps go on
// without. For any backend.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../src/engine_options.h"
#include "les/device_engine.h"

namespace les::cuda {

/// What a graph was captured for: with another one it is of no use.
struct StepKey {
    std::array<const void*, 9> arrays{};
    std::array<std::int64_t, 8> numbers{};
    std::vector<std::int64_t> runs;  // centres of each element
    bool operator==(const StepKey&) const = default;
};

/// Forces and sums of a step on the host.
struct StepResults {
    std::vector<double> forces;
    DeviceSummary summary{};
};

/// Largest difference of forces and sums, relative to the largest of each kind; not finite if one of them is not.
inline double difference(const StepResults& a, const StepResults& b) {
    const auto larger = [](double most, double found) { return most != most || found <= most ? most : found; };
    double force = 0.0, scale = 1e-6;
    for (std::size_t n = 0; n < a.forces.size(); ++n) {
        scale = std::max(scale, std::abs(b.forces[n]));
        force = larger(force, std::abs(a.forces[n] - b.forces[n]));
    }
    double worst = force / scale;
    const auto compare = [&](double x, double y, double size) {
        worst = larger(worst, std::abs(x - y) / (1.0 + size));
    };
    const double n_atoms = static_cast<double>(a.forces.size()) / 3.0;
    compare(a.summary.short_range_energy, b.summary.short_range_energy, std::abs(b.summary.short_range_energy));
    compare(a.summary.long_range_energy, b.summary.long_range_energy, std::abs(b.summary.long_range_energy));
    for (std::size_t ab = 0; ab < 9; ++ab) compare(a.summary.virial[ab], b.summary.virial[ab], n_atoms);
    for (std::size_t d = 0; d < 3; ++d) compare(a.summary.polarization[d], b.summary.polarization[d], n_atoms);
    compare(a.summary.status, b.summary.status, 0.0);
    return worst;
}

template <class Backend>
class StepGraph {
public:
    /// Steps with the same arrays before one is captured: executors, libraries and memory are warm by then.
    static constexpr int steps_before = 3;
    /// Above this number of atoms launches do not decide; `graphs` auto leaves them as they are.
    static constexpr std::int64_t most_atoms = 10000;

    /// `wanted` is EngineOptions::graphs; `reason`: why steps cannot be captured here, or empty; `tolerance`: relative
    /// difference of two evaluations with sums in another order.
    StepGraph(Backend& backend, const std::string& wanted, const std::string& reason, double tolerance,
              std::vector<std::string>& warnings)
        : backend_(backend), tolerance_(tolerance), always_(wanted == "on") {
        check_graphs(wanted);
        active_ = wanted != "off" && reason.empty();
        if (always_ && !active_) warnings.push_back("steps cannot be captured as graphs: " + reason);
    }

    /// Whether there is a graph for this step.
    bool is_for(const StepKey& key) const { return graph_ && key == key_; }
    void launch() {
        backend_.launch(*graph_);
        ++n_launches_;
    }
    /// Whether a launch was found to be right.
    bool is_checked() const { return checked_; }

    /// Whether an ordinary step is to be captured, called behind each of them.
    bool is_due(const StepKey& key, std::int64_t n_atoms) {
        n_same_ = key == key_ ? n_same_ + 1 : 1;
        graph_.reset();
        key_ = key;
        return active_ && n_same_ >= steps_before && n_atoms > 0 && (n_atoms <= most_atoms || always_);
    }

    /// Captures what `evaluate` puts on the stream, without running it. A line of what went wrong, or nothing.
    template <class Evaluate>
    std::optional<std::string> capture(const Evaluate& evaluate) {
        try {
            backend_.begin_capture();
            try {
                evaluate();
            } catch (...) {
                backend_.abandon_capture();
                throw;
            }
            graph_.emplace(backend_.end_capture());
        } catch (const std::exception& error) {
            const std::string text = error.what();
            return refuse("capturing one as a graph failed (" + text.substr(0, text.find('\n')) + ")");
        }
        checked_ = false;
        ++n_captures_;
        return std::nullopt;
    }

    /// The first launch against an ordinary step with the same positions.
    std::optional<std::string> check(const StepResults& launched, const StepResults& ordinary) {
        const double found = difference(launched, ordinary);
        checked_ = found <= tolerance_;
        if (checked_) return std::nullopt;
        char text[100];
        std::snprintf(text, sizeof(text), "a step captured as a graph gave other numbers (relative difference %.2g)",
                      found);
        return refuse(text);
    }

    /// A line, once, where `graphs` is on and steps are not captured because of `reason`; or nothing.
    std::optional<std::string> go_without(const std::string& reason) {
        if (!always_ || !active_ || std::exchange(said_, true)) return std::nullopt;
        return "steps are not captured as graphs: " + reason;
    }

    int n_captures() const { return n_captures_; }
    int n_launches() const { return n_launches_; }

private:
    Backend& backend_;
    double tolerance_;
    bool active_ = false, always_, checked_ = false, said_ = false;
    StepKey key_;  // of the graph, or of the last step
    int n_same_ = 0, n_captures_ = 0, n_launches_ = 0;
    std::optional<typename Backend::Graph> graph_;

    std::string refuse(const std::string& reason) {
        graph_.reset();
        active_ = false;
        return "steps are launched one kernel after the other: " + reason;
    }
};

}  // namespace les::cuda
