using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;

// In process: what is measured is the build at hand, and nothing is generated or restored.
// dotnet run -c Release --project tests/Gemma4Edge.Benchmarks -- --filter '*Multiply*Tokens: 1,*q4_0*avx2*'
BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(
    args,
    DefaultConfig.Instance.AddJob(Job.ShortRun.WithToolchain(InProcessEmitToolchain.Instance)));
