// What counting costs: runs spin's kernels counted and uncounted, by turns, in processes of the host, and prints the
// times side by side. The same compiler and options made both; the best of the turns counts.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "common/error.hpp"

namespace {

using understudy::Error;

struct Result {
    std::string kernel;
    std::string checksum;
    std::uint64_t elapsed_ns = 0;
};

std::string value_of(const std::string& line, const std::string& name) {
    const std::size_t start = line.find(name + "=");
    if (start == std::string::npos) {
        throw Error::format("spin printed a line without {}: {}", name, line);
    }
    const std::size_t value = start + name.size() + 1;
    return line.substr(value, line.find(' ', value) - value);
}

std::vector<Result> run_spin(const std::string& program, unsigned rounds, const std::string& kernel) {
    std::string command = fmt::format("'{}' --rounds {}", program, rounds);
    if (!kernel.empty()) {
        command += fmt::format(" --kernel '{}'", kernel);
    }
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
    if (pipe == nullptr) {
        throw Error("cannot run " + command);
    }
    std::string text;
    for (int c = fgetc(pipe.get()); c != EOF; c = fgetc(pipe.get())) {
        text += static_cast<char>(c);
    }
    std::vector<Result> results;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        results.push_back(
            {line.substr(0, line.find(' ')), value_of(line, "checksum"), std::stoull(value_of(line, "elapsed_ns"))});
    }
    if (results.empty() || results.back().kernel != "total") {
        throw Error(command + " did not come to its end");
    }
    results.pop_back();
    return results;
}

// The best times by kernel; checksums must never differ.
class Best {
  public:
    void add(const std::vector<Result>& results) {
        for (const Result& result : results) {
            const auto [known, is_new] = best_.emplace(result.kernel, result);
            if (known->second.checksum != result.checksum) {
                throw Error::format("{}: a run computed something else", result.kernel);
            }
            known->second.elapsed_ns = std::min(known->second.elapsed_ns, result.elapsed_ns);
            if (is_new) {
                order_.push_back(result.kernel);
            }
        }
    }
    [[nodiscard]] const std::vector<std::string>& kernels() const { return order_; }
    [[nodiscard]] const Result& of(const std::string& kernel) const { return best_.at(kernel); }

  private:
    std::map<std::string, Result> best_;
    std::vector<std::string> order_;
};

void print_table(const Best& plain, const Best& counted, unsigned rounds) {
    fmt::print("{:<14}{:>14}{:>14}{:>10}\n", "kernel", "plain ms", "counted ms", "speed");
    double logarithms = 0;
    double plain_sum = 0;
    double counted_sum = 0;
    const auto milliseconds = [&](std::uint64_t ns) { return static_cast<double>(ns) / 1e6 / rounds; };
    for (const std::string& kernel : plain.kernels()) {
        const double before = milliseconds(plain.of(kernel).elapsed_ns);
        const double after = milliseconds(counted.of(kernel).elapsed_ns);
        fmt::print("{:<14}{:>14.3f}{:>14.3f}{:>10.2f}\n", kernel, before, after, before / after);
        logarithms += std::log(before / after);
        plain_sum += before;
        counted_sum += after;
    }
    fmt::print("{:<14}{:>14.3f}{:>14.3f}{:>10.2f}\n", "sum", plain_sum, counted_sum, plain_sum / counted_sum);
    fmt::print("{:<14}{:>38.2f}\n", "geometric mean",
               std::exp(logarithms / static_cast<double>(plain.kernels().size())));
}

}  // namespace

int main(int argc, char** argv) try {
    CLI::App app("Compares spin with and without counting, natively.\nExample: count_bench --rounds 20 --turns 7");
    unsigned rounds = 10;
    unsigned turns = 7;
    std::string kernel;
    app.add_option("--rounds", rounds, "Rounds of each kernel in a turn")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    app.add_option("--turns", turns, "Turns of each; the best counts")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_option("--kernel", kernel, "This kernel alone");
    CLI11_PARSE(app, argc, argv);

    Best plain;
    Best counted;
    for (unsigned turn = 0; turn < turns; ++turn) {
        const auto before = run_spin(UNDERSTUDY_BINARY_DIR "/programs/native/spin", rounds, kernel);
        const auto after = run_spin(UNDERSTUDY_BINARY_DIR "/programs/hosted/spin", rounds, kernel);
        for (std::size_t i = 0; i < before.size() && i < after.size(); ++i) {
            if (before[i].checksum != after[i].checksum) {
                throw Error::format("{}: the counted program computed something else", before[i].kernel);
            }
        }
        plain.add(before);
        counted.add(after);
    }
    print_table(plain, counted, rounds);
    return 0;
} catch (const std::exception& error) {
    fmt::print(stderr, "count_bench: {}\n", error.what());
    return 1;
}
