// The command line of a small program: --name VALUE, --name=VALUE and --flag.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::programs {

// A command line that cannot be used; what() says why.
class UsageError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

class Options {
  public:
    // `summary` and `example` are shown by --help.
    Options(std::string name, std::string summary, std::string example);

    // Each names a variable that holds the default and takes what is given. It must live until parse() returns.
    Options& number(std::string name, std::string help, std::uint64_t& value, std::uint64_t least, std::uint64_t most);
    Options& port(std::uint16_t& value);
    Options& size(std::string name, std::string help, std::uint64_t& value);  // bytes, with K, M or G behind
    Options& text(std::string name, std::string help, std::string& value);
    Options& flag(std::string name, std::string help, bool& value);

    // False: --help was asked for and shown. Throws UsageError.
    bool parse(int argc, const char* const* argv) const;

  private:
    struct Option {
        std::string name;
        std::string placeholder;  // empty: a flag
        std::string help;
        std::string preset;
        std::function<void(std::string_view)> take;
    };

    void show_help() const;

    std::string name_;
    std::string summary_;
    std::string example_;
    std::vector<Option> options_;
};

// Runs a program's body: its exit status, or 2 and one line on standard error for a UsageError, 1 for any other
// exception.
int run_program(const char* name, const std::function<int()>& body);

}  // namespace understudy::programs
