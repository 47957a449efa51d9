// The subcommands of `understudy`. Each has one file, <name>.cpp, and one function here: it declares the
// subcommand's options on the root and returns what to run when the user has chosen it. The table of all of them is
// made from the list in tools/CMakeLists.txt.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace understudy::tools {

struct Command {
    CLI::App* app = nullptr;   // owned by the root; app->parsed() tells whether the user chose it
    std::function<int()> run;  // the exit status: 0 only for success. Throws understudy::Error for a failure
    // Where the words after "--" go, verbatim, before `run`; null: the subcommand takes none. (The option parser would
    // take a word like "[a,b]" apart.)
    std::vector<std::string>* program_arguments = nullptr;
};

// Declares the subcommand on `root`. The options it declares live as long as the returned `run`: keep them in a
// shared_ptr that `run` captures. The footer of its --help is an example.
Command add_init(CLI::App& root);
Command add_arbiter(CLI::App& root);
Command add_primary(CLI::App& root);
Command add_backup(CLI::App& root);
Command add_gateway(CLI::App& root);
Command add_run(CLI::App& root);
Command add_console(CLI::App& root);
Command add_image(CLI::App& root);
Command add_replay(CLI::App& root);
Command add_log(CLI::App& root);
Command add_demo(CLI::App& root);
Command add_bench(CLI::App& root);
Command add_verify(CLI::App& root);
Command add_torture(CLI::App& root);
Command add_checkpoints(CLI::App& root);
Command add_doctor(CLI::App& root);

}  // namespace understudy::tools
