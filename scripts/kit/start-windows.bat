@echo off
rem Installs the course from this folder and opens it. No network is used. A folder may be named after the command.
rem This only looks for a 64-bit Python that the kit has packages for (@or_pythons@); programs\start.py does the rest.
setlocal
set "HERE=%~dp0"
set "PYTHON="
set "FITS=import sys; sys.exit(sys.version_info[:2] not in [@tuples@] or sys.maxsize < 2**32)"
for %%V in (@pythons@) do call :try "py -%%V"
for %%P in (@names@ python python3) do call :try "%%P"
if defined PYTHON goto found
echo No 64-bit Python that fits was found on this computer. This kit needs Python @or_pythons@.
echo Installers may lie in the folder python of this kit:
dir /b "%HERE%python"
echo Install one (tick "Add python.exe to PATH"), then start this again.
echo.
pause
exit /b 1

:try
if defined PYTHON exit /b 0
%~1 -c "%FITS%" >nul 2>nul
if %errorlevel%==0 set "PYTHON=%~1"
exit /b 0

:found
%PYTHON% -B "%HERE%programs\start.py" %*
if %errorlevel%==0 exit /b 0
echo.
pause
exit /b 1
